"""The one door from descriptions to torch; importing it does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_space.plan import Form
from search_space.spec import NetworkSpec

if TYPE_CHECKING:
    import torch

    from search_space.network import Network


def build(
    spec: NetworkSpec, form: Form = "masked", *, generator: torch.Generator | None = None
) -> Network:
    """The torch module of a network: images ``(N, channels, size, size)`` to logits.

    Args:
        spec: The network.
        form: ``masked`` to train and condense, ``condensed`` to deploy.
        generator: Where the initial weights come from; torch's default generator if None.
    """
    from search_space.network import Network

    return Network(spec, form, generator)
