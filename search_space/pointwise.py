"""Batch norm, ReLU and 1x1 convolution as one step of training on the CPU.

Dense networks spend their time moving maps through memory: each layer norms everything that was
computed before it. Here a map is read once forward and once backward, a piece at a time that stays
in the processor's cache. Nothing but the map is kept for the backward pass: its norm and ReLU are
computed again there ("Memory-Efficient Implementation of DenseNets", arXiv:1707.06990). The
results are those of the separate modules within rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PIECE_BYTES = 2**20
"""Half of it and twice as much are as fast on cores with 1 MB of cache each."""


def normed_pointwise(x: Tensor, norm: nn.BatchNorm2d, weight: Tensor) -> Tensor:
    """The 1x1 convolution of ``relu(norm(x))``; counts the batch in the norm's statistics.

    Args:
        x: ``(N, inputs, H, W)``, fastest in channels-last memory.
        norm: Of the inputs; in evaluation mode it applies its running statistics.
        weight: ``(outputs, inputs, 1, 1)``.

    Returns:
        ``(N, outputs, H, W)`` in channels-last memory; of autocast's type where that is on.
    """
    mean, variance = batch_statistics(x, norm) if norm.training else running_statistics(norm)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    shift = norm.bias - mean * scale
    y: Tensor = _RectifiedLinear.apply(x, scale, shift, weight.flatten(1))
    return y


def running_statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Mean and variance that the norm applies in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


def batch_statistics(x: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, which the norm's running statistics count."""
    mean, variance = _Moments.apply(x)
    count = x.numel() // x.shape[1]
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum or 1 / int(norm.num_batches_tracked)
    with torch.no_grad():
        running_mean, running_variance = running_statistics(norm)
        running_mean.lerp_(mean, momentum)
        running_variance.lerp_(variance * (count / (count - 1)), momentum)
    return mean, variance


class _Moments(torch.autograd.Function):
    """Mean and biased variance over all but the channels, in at least single precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        count = x.numel() // x.shape[1]
        # As running statistics of momentum 1 they are in single precision whatever x is in.
        mean, variance = torch.zeros(2, x.shape[1], dtype=_sum_type(x.dtype), device=x.device)
        torch.ops.aten.batch_norm_update_stats(x, mean, variance, 1.0)
        variance *= (count - 1) / count
        ctx.save_for_backward(x, mean)
        return mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_mean: Tensor, d_variance: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        slope = d_variance * (2 / count)
        offset = d_mean / count - mean * slope
        return torch.addcmul(_per_channel(offset), x, _per_channel(slope)).to(x.dtype)


class _RectifiedLinear(torch.autograd.Function):
    """``relu(x * scale + shift)`` times ``weight`` (outputs, inputs), of which only x is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale, shift, weight)
        dtype = _autocast_type(x)
        n, _, height, width = x.shape
        y = x.new_empty(n, height, width, weight.shape[0], dtype=dtype)
        weight = weight.to(_product_type(dtype))
        pieces = _Pieces(x, weight.dtype)
        for rows, results in pieces.split(_rows(x), y.view(-1, y.shape[-1])):
            _multiply(pieces.rectified(rows, scale, shift), weight.T, results)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, scale, shift, weight = ctx.saved_tensors
        product = weight.to(_product_type(gradient.dtype))
        dx = torch.empty_like(x, memory_format=torch.channels_last)
        d_scale, d_shift, d_weight = (torch.zeros_like(t) for t in (scale, shift, weight))
        pieces = _Pieces(x, product.dtype)
        for rows, d_results, d_rows in pieces.split(_rows(x), _rows(gradient), _rows(dx)):
            rectified = pieces.rectified(rows, scale, shift)
            d_results = d_results.to(product.dtype)
            d_weight += d_results.T @ rectified
            d_affine = torch.mm(d_results, product, out=pieces.second[: len(rows)])
            torch.ops.aten.threshold_backward.grad_input(
                d_affine, rectified, 0, grad_input=d_affine
            )
            d_shift += d_affine.sum(0, dtype=d_shift.dtype)
            torch.mul(d_affine, scale, out=d_rows)
            d_scale += d_affine.mul_(rows).sum(0, dtype=d_scale.dtype)
        return dx, d_scale, d_shift, d_weight


class _Pieces:
    """Cuts maps into pieces of whole rows, a row being the channels of one position."""

    def __init__(self, x: Tensor, dtype: torch.dtype) -> None:
        channels = x.shape[1]
        self.length = max(1, PIECE_BYTES // (channels * x.element_size()))
        self.first, self.second = x.new_empty(2, self.length, channels, dtype=dtype)

    def split(self, *maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """The same rows of each of several maps, one piece after the other."""
        return zip(*(torch.split(rows, self.length) for rows in maps), strict=True)

    def rectified(self, rows: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """``relu(rows * scale + shift)``, in memory that the next piece uses again."""
        return torch.addcmul(shift, rows, scale, out=self.first[: len(rows)]).relu_()


def _rows(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` as ``(N H W, C)``; without a copy where memory is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _per_channel(vector: Tensor) -> Tensor:
    return vector[:, None, None]


def _multiply(rows: Tensor, matrix: Tensor, results: Tensor) -> None:
    if results.dtype == rows.dtype:
        torch.mm(rows, matrix, out=results)
    else:
        results.copy_(rows @ matrix)


def _autocast_type(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _product_type(dtype: torch.dtype) -> torch.dtype:
    """What matrices of a type are multiplied in: processors that lack the instructions for half
    precision would emulate them, slower than single precision."""
    return torch.float32 if dtype.itemsize == 2 and not _MULTIPLIES_HALF else dtype


def _sum_type(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.itemsize == 2 else dtype


_MULTIPLIES_HALF = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
