"""Mean and variance of each channel of a map, computed once however many layers norm it.

In a dense block each layer norms all that came before it: every channel again, with a gain and a
bias of its own, but with the statistics of the channel. So the statistics go with the map from
layer to layer, and as differentiable values their gradients are summed before the map is looked
at again.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakTensorKeyDictionary

from search_space.pieces import pieces_of, rows_of


class Statistics(NamedTuple):
    """Of each channel of a map; the variance is the biased one."""

    mean: Tensor
    variance: Tensor


def running_statistics(norm: nn.BatchNorm2d) -> Statistics:
    """What the norm applies in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return Statistics(norm.running_mean, norm.running_var)


@torch.no_grad()
def count_batch(statistics: Statistics, positions: int, norm: nn.BatchNorm2d) -> None:
    """Takes the statistics of a batch into the running ones of the norm.

    Args:
        statistics: Of the batch.
        positions: Of each channel, over all images of the batch.
        norm: In training mode.
    """
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum
    if momentum is None:
        momentum = 1 / int(norm.num_batches_tracked)
    unbiased = statistics.variance * (positions / (positions - 1))
    found = (statistics.mean, unbiased)
    for running, of_batch in zip(running_statistics(norm), found, strict=True):
        running.lerp_(of_batch.to(running.dtype), momentum)


def with_statistics(x: Tensor) -> tuple[Tensor, Statistics]:
    """The map for those who read it after this, and its statistics."""
    known = known_statistics(x)
    if known is None:
        x, *computed = _ChannelStatistics.apply(x)
        known = Statistics(*computed)
    return x, known


def concatenated(*xs: Tensor) -> Tensor:
    """All channels, one map's after the other's.

    Where the statistics of the first map are known, those of the result become known.
    """
    if not xs or known_statistics(xs[0]) is None:
        return torch.cat(xs, 1)
    maps, found = zip(*(with_statistics(x) for x in xs), strict=True)
    y = torch.cat(maps, 1)
    means, variances = zip(*found, strict=True)
    remember(y, Statistics(torch.cat(means), torch.cat(variances)))
    return y


class _Known(NamedTuple):
    """The statistics of a map at one of its versions."""

    version: int
    statistics: Statistics


# By the map itself, as which it goes from one module to the next; forgotten with it.
_KNOWN: MutableMapping[Tensor, _Known] = WeakTensorKeyDictionary()


def known_statistics(x: Tensor) -> Statistics | None:
    """What :func:`remember` was told of this version of the map."""
    # In a compiler nothing is remembered, and versions cannot be compared.
    if torch.compiler.is_compiling():
        return None
    known: _Known | None = _KNOWN.get(x)
    return known.statistics if known is not None and known.version == x._version else None


def remember(x: Tensor, statistics: Statistics) -> None:
    """Lets the readers of the map know its statistics.

    They must not have been computed of this very tensor: their graph would keep it, and neither
    would ever be freed. A tensor that is made of it will do.
    """
    _KNOWN[x] = _Known(x._version, statistics)


class _ChannelStatistics(torch.autograd.Function):
    """A map, and the mean and biased variance of each of its channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count = x.numel() // x.shape[1]
        # As running statistics of momentum 1 they are in single precision whatever x is in.
        precise = torch.promote_types(x.dtype, torch.float32)
        mean, variance = x.new_zeros(2, x.shape[1], dtype=precise)
        torch.ops.aten.batch_norm_update_stats(x, mean, variance, 1.0)
        ctx.save_for_backward(x, mean)
        ctx.set_materialize_grads(False)
        return x, mean, variance * ((count - 1) / count)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_x: Tensor | None, d_mean: Tensor | None, d_variance: Tensor | None
    ) -> Tensor | None:
        if d_mean is None and d_variance is None:
            return d_x
        x, mean = ctx.saved_tensors
        d_mean, d_variance = (
            torch.zeros_like(mean) if d is None else d for d in (d_mean, d_variance)
        )
        count = x.numel() // x.shape[1]
        slope = d_variance * (2 / count)
        offset = d_mean / count - mean * slope
        dx = torch.empty_like(x, memory_format=torch.channels_last)
        if d_x is None:
            torch.addcmul(offset, rows_of(x), slope, out=rows_of(dx))
            return dx
        for rows, d_rows, sums in pieces_of(rows_of(x), rows_of(d_x), rows_of(dx)):
            torch.addcmul(d_rows, rows, slope, out=sums).add_(offset)
        return dx
