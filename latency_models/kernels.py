"""From the condensed plan of a network to the kernels that an inference runtime executes.

What a runtime folds is folded here, what it executes apart is one :class:`Kernel`, and
:func:`features` says what a kernel is charged for. No prices stand here, no torch is imported.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

from search_space import ops
from search_space.ops import Op, Value
from search_space.plan import FRAGMENT_CACHE_SIZE, Fragment

if TYPE_CHECKING:
    from search_space.spec import NetworkSpec

Kind = Literal[
    "conv",
    "conv_3x3",
    "pointwise",
    "grouped_conv",
    "grouped_pointwise",
    "depthwise",
    "linear",
    "elementwise",
    "add",
    "concat",
    "split",
    "shuffle",
    "gather",
    "index_add",
    "pool",
    "global_pool",
    "other",
]
KINDS: tuple[str, ...] = get_args(Kind)
COMPUTING = KINDS[:7]
"""Kinds that multiply; each has its own price per multiply-add. All others move data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel launch on one image.

    ``in_elements`` counts every tensor read except the ``weights``; ``kernel`` is the side of a
    convolution's or pool's window.
    """

    kind: Kind
    in_elements: int
    out_elements: int
    macs: int = 0
    weights: int = 0
    kernel: int = 1
    stride: int = 1
    groups: int = 1


def conv_kind(
    *, inputs: int, outputs: int, kernel: int, stride: int, groups: int, out_size: int
) -> Kind:
    """The kind of a convolution of ``inputs`` to ``outputs`` channels.

    ``conv_3x3`` are those that a runtime may compute by Winograd's algorithm: dense, stride 1. A
    1x1 convolution of a vector is a linear layer.
    """
    if groups > 1:
        if groups == inputs and outputs % inputs == 0:
            return "depthwise"
        return "grouped_pointwise" if kernel == 1 else "grouped_conv"
    if kernel == 1:
        return "linear" if out_size == 1 else "pointwise"
    return "conv_3x3" if kernel == 3 and stride == 1 else "conv"
