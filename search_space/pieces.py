"""Channels-last maps as matrices, in pieces that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

PIECE_BYTES = 2**21
"""Half of it is as fast on two cores of 1 MB of cache each, and waits more often for a busy one."""

_PARTS = 8


def rows_of(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` as ``(N H W, C)``; without a copy where memory is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def pieces_of(*maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of each of several matrices, one piece after the other.

    The first one's pieces are of ``PIECE_BYTES``.
    """
    rows, channels = maps[0].shape
    length = _piece_length(rows, channels, maps[0].dtype)
    return zip(*(torch.split(m, length) for m in maps), strict=True)


def a_piece(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Memory of another type for a piece of the rows of a map ``(N, C, H, W)``."""
    channels = x.shape[1]
    length = _piece_length(x.numel() // channels, channels, x.dtype)
    return x.new_empty(length, channels, dtype=dtype)


def column_sums(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum of all rows.

    torch sums the rows of one matrix in one thread, and those of several in as many as it has.
    """
    length, channels = rows.shape
    parts = _PARTS if length % _PARTS == 0 else 1
    return rows.view(parts, -1, channels).sum(1, dtype=dtype).sum(0)


def _piece_length(rows: int, channels: int, dtype: torch.dtype) -> int:
    fitting = PIECE_BYTES // (channels * dtype.itemsize)
    return max(1, min(rows, fitting // _PARTS * _PARTS or fitting))
