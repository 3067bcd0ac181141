"""Trained weights that come with the zoo: ``weights/NAME/weights.safetensors``, in masked form.

The folder of a network holds besides what ``search train`` says of it. The metadata of its weights
name, besides what all weights say, ``mean`` and ``std`` of the images, fractions by colour.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search_space.errors import UserError
from search_space.zoo import zoo

if TYPE_CHECKING:
    from search_space.network import Network

FOLDER = Path(__file__).parent / "weights"
FILE = "weights.safetensors"

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation of each colour, fractions of the largest value."""


def pretrained_file(name: str) -> Path | None:
    """The weights of a network of the zoo; None where there are none."""
    file = FOLDER / name / FILE
    return file if file.is_file() else None


def fill_pretrained(network: Network, name: str) -> Normalisation:
    """Gives a masked network, or the part of it that makes feature maps, its trained weights.

    Returns:
        How images are to be normalised.

    Raises:
        UserError: there are none.
    """
    from safetensors import safe_open

    file = pretrained_file(name)
    if file is None:
        there = ", ".join(sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}"))) or "none"
        raise UserError(
            f"`pretrained` (=True) must be False: no weights of {name} are published (there are:"
            f" {there}); train the network, or convert the authors' weights with `search import`,"
            " and give the file to commands as `--weights` or to the module's `load_state_dict`"
        )
    with safe_open(file, framework="pt") as trained:
        metadata = trained.metadata()
        assert (metadata["form"], metadata["spec"]) == ("masked", zoo(name).id), "published wrongly"
        network.load_state_dict({key: trained.get_tensor(key) for key in network.state_dict()})
    mean, std = (tuple(map(float, metadata[key].split())) for key in ("mean", "std"))
    return mean, std
