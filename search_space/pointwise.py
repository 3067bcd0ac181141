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

PIECE_BYTES = 2**21
"""Half of it is as fast on two cores of 1 MB of cache each, and waits more often for a busy one."""


def normed_pointwise(x: Tensor, norm: nn.BatchNorm2d, weight: Tensor) -> Tensor:
    """The 1x1 convolution of ``relu(norm(x))``; counts the batch in the norm's statistics.

    Args:
        x: ``(N, inputs, H, W)``, fastest in channels-last memory.
        norm: Of the inputs; in evaluation mode it applies its running statistics.
        weight: ``(outputs, inputs, 1, 1)``.

    Returns:
        ``(N, outputs, H, W)`` in channels-last memory; of autocast's type where that is on.
    """
    return _apply(x, norm, weight, None)


def reactivated(x: Tensor, new: Tensor, norm: nn.BatchNorm2d, weight: Tensor) -> Tensor:
    """``x`` with the 1x1 convolution of ``relu(norm(new))`` added, and ``new`` after it.

    Args:
        x: ``(N, features, H, W)``.
        new: ``(N, channels, H, W)``.
        norm: Of the new channels.
        weight: ``(features, channels, 1, 1)``.

    Returns:
        ``(N, features + channels, H, W)`` in channels-last memory (CondenseNetV2, section 3.1).
    """
    return _apply(new, norm, weight, x)


def _apply(x: Tensor, norm: nn.BatchNorm2d, weight: Tensor, base: Tensor | None) -> Tensor:
    mean, variance = batch_statistics(x, norm) if norm.training else running_statistics(norm)
    deviation = (variance + norm.eps).sqrt()
    y: Tensor = _NormedPointwise.apply(
        x, norm.weight, norm.bias, weight, base, mean, deviation, norm.training
    )
    return y


def running_statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Mean and variance that the norm applies in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


@torch.no_grad()
def batch_statistics(x: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, which the norm's running statistics count."""
    count = x.numel() // x.shape[1]
    running_mean, running_variance = running_statistics(norm)
    # As running statistics of momentum 1 they are in the norm's precision whatever x is in.
    mean, variance = torch.zeros_like(running_mean), torch.zeros_like(running_variance)
    torch.ops.aten.batch_norm_update_stats(x, mean, variance, 1.0)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum or 1 / int(norm.num_batches_tracked)
    running_mean.lerp_(mean, momentum)
    running_variance.lerp_(variance, momentum)
    return mean, variance * ((count - 1) / count)


class _NormedPointwise(torch.autograd.Function):
    """``relu(gain * (x - mean) / deviation + bias)`` times ``weight``, of which only x is kept.

    With a ``base`` the product is added to it, and x joined behind the sum. Where ``of_batch``,
    mean and deviation are those of x, and the gradient of x knows it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor,
        bias: Tensor,
        weight: Tensor,
        base: Tensor | None,
        mean: Tensor,
        deviation: Tensor,
        of_batch: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, gain, bias, weight, mean, deviation)
        ctx.of_batch, ctx.joins = of_batch, base is not None
        dtype = _autocast_type(x)
        n, channels, height, width = x.shape
        outputs = weight.shape[0]
        y = x.new_empty(n, height, width, outputs + channels * ctx.joins, dtype=dtype)
        rows = y.view(-1, y.shape[-1])
        multiplied = weight.flatten(1).to(_product_type(dtype)).T
        scale = gain / deviation
        pieces = _Pieces(x, multiplied.dtype)
        sources = [_rows(x), rows[:, :outputs], *([_rows(base)] if base is not None else [])]
        for piece, results, *onto in pieces.split(*sources):
            rectified = pieces.rectified(piece, scale, bias - mean * scale)
            _multiply(rectified, multiplied, results, *onto)
        if ctx.joins:
            rows[:, outputs:] = _rows(x)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, bias, weight, mean, deviation = ctx.saved_tensors
        outputs = weight.shape[0]
        product = weight.flatten(1).to(_product_type(gradient.dtype))
        scale = gain / deviation
        shift = bias - mean * scale
        dx = torch.empty_like(x, memory_format=torch.channels_last)
        d_scale, d_shift, d_weight = (torch.zeros_like(t) for t in (scale, shift, weight))
        d_matrix = d_weight.view(outputs, -1)
        pieces = _Pieces(x, product.dtype)
        for rows, d_rows, d_results in pieces.split(_rows(x), _rows(dx), _rows(gradient)):
            rectified = pieces.rectified(rows, scale, shift)
            d_product = d_results[:, :outputs].to(product.dtype)
            d_matrix += d_product.T @ rectified
            d_affine = torch.mm(d_product, product, out=pieces.second[: len(rows)])
            torch.ops.aten.threshold_backward.grad_input(
                d_affine, rectified, 0, grad_input=d_affine
            )
            d_shift += d_affine.sum(0, dtype=d_shift.dtype)
            if ctx.joins:
                torch.addcmul(d_results[:, outputs:], d_affine, scale, out=d_rows)
            else:
                torch.mul(d_affine, scale, out=d_rows)
            d_scale += d_affine.mul_(rows).sum(0, dtype=d_scale.dtype)
        # Of what the norm divides by its deviation: the sum of gradient times deviation from mean.
        d_normed = (d_scale - mean * d_shift) / deviation
        if ctx.of_batch:
            count = len(x) * x.shape[2] * x.shape[3]
            slope = -scale * d_normed / (deviation * count)
            offset = -scale * d_shift / count - mean * slope
            for rows, d_rows in pieces.split(_rows(x), _rows(dx)):
                d_rows.addcmul_(rows, slope).add_(offset)
        d_base = gradient[:, :outputs] if ctx.joins else None
        return dx, d_normed, d_shift, d_weight, d_base, None, None, None


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


def _multiply(rows: Tensor, matrix: Tensor, results: Tensor, onto: Tensor | None = None) -> None:
    """Writes ``onto + rows @ matrix`` to the results."""
    if results.dtype != rows.dtype or (onto is not None and onto.dtype != rows.dtype):
        product = rows @ matrix
        results.copy_(product if onto is None else product.add_(onto))
    elif onto is None:
        torch.mm(rows, matrix, out=results)
    else:
        torch.addmm(onto, rows, matrix, out=results)


def _autocast_type(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _product_type(dtype: torch.dtype) -> torch.dtype:
    """What matrices of a type are multiplied in: processors that lack the instructions for half
    precision would emulate them, slower than single precision."""
    return torch.float32 if dtype.itemsize == 2 and not _MULTIPLIES_HALF else dtype


_MULTIPLIES_HALF = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
