"""Trained weights that come with the zoo: ``pretrained/NAME.safetensors``, in masked form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search_space.errors import UserError

if TYPE_CHECKING:
    from search_space.network import Network

FOLDER = Path(__file__).parent / "pretrained"


def pretrained_file(name: str) -> Path | None:
    """The weights of a network of the zoo; None where there are none."""
    file = FOLDER / f"{name}.safetensors"
    return file if file.is_file() else None


def fill_pretrained(network: Network, name: str) -> None:
    """Gives a masked network, or the part of it that makes feature maps, its trained weights.

    Raises:
        UserError: there are none.
    """
    from safetensors.torch import load_file

    file = pretrained_file(name)
    if file is None:
        there = ", ".join(sorted(path.stem for path in FOLDER.glob("*.safetensors"))) or "none"
        raise UserError(
            f"`pretrained` (=True) must be False: no weights of {name} are published (there are:"
            f" {there}); train the network, or convert the authors' weights with `search import`,"
            " and give the file to commands as `--weights` or to the module's `load_state_dict`"
        )
    trained = load_file(file)
    network.load_state_dict({key: trained[key] for key in network.state_dict()})
