"""Batch norm, ReLU and 1x1 convolution as one step of training on the CPU.

Dense networks spend their time moving maps through memory: each layer norms everything that was
computed before it. Here a map is read once forward and once backward, a piece at a time that stays
in the processor's cache, and the gradients of those who read it later are added on the way. Only
maps are kept for the backward pass: their norms and ReLUs are computed again there
("Memory-Efficient Implementation of DenseNets", arXiv:1707.06990). The results are those of the
separate modules within rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from search_space.pieces import a_piece, column_sums, pieces_of, rows_of
from search_space.statistics import count_batch, remember, running_statistics, with_statistics


def normed_pointwise(x: Tensor, norm: nn.BatchNorm2d, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The 1x1 convolution of ``relu(norm(x))``; counts the batch in the norm's statistics.

    Args:
        x: ``(N, inputs, H, W)``, fastest in channels-last memory.
        norm: Of the inputs; in evaluation mode it applies its running statistics.
        weight: ``(outputs, inputs, 1, 1)``.

    Returns:
        ``(N, outputs, H, W)`` in channels-last memory, of autocast's type where that is on; and x
        for those who read it after this: the gradient that they send back is summed in passing.
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
    return _apply(new, norm, weight, x)[0]


def _apply(
    x: Tensor, norm: nn.BatchNorm2d, weight: Tensor, base: Tensor | None
) -> tuple[Tensor, Tensor]:
    if norm.training:
        x, statistics = with_statistics(x)
        count_batch(statistics, x.numel() // x.shape[1], norm)
    else:
        statistics = running_statistics(norm)
    deviation = (statistics.variance + norm.eps).sqrt()
    y, x = _NormedPointwise.apply(
        x, norm.weight, norm.bias, weight, base, statistics.mean, deviation
    )
    if norm.training:
        remember(x, statistics)
    return y, x


class _NormedPointwise(torch.autograd.Function):
    """``relu(gain * (x - mean) / deviation + bias)`` times ``weight``, of which only x is kept.

    With a ``base`` the product is added to it, and x joined behind the sum.
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
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, gain, bias, weight, mean, deviation)
        ctx.set_materialize_grads(False)
        ctx.joins = base is not None
        dtype = _autocast_type(x)
        n, channels, height, width = x.shape
        outputs = weight.shape[0]
        y = x.new_empty(n, height, width, outputs + channels * ctx.joins, dtype=dtype)
        rows = y.view(-1, y.shape[-1])
        multiplied = weight.flatten(1).to(_product_type(dtype)).T
        scale = gain / deviation
        shift = bias - mean * scale
        sources = [rows_of(x), rows[:, :outputs], *([rows_of(base)] if base is not None else [])]
        scratch = a_piece(x, multiplied.dtype)
        for piece, results, *onto in pieces_of(*sources):
            rectified = _rectified(piece, scale, shift, scratch)
            _multiply(rectified, multiplied, results, *onto)
        if ctx.joins:
            rows[:, outputs:] = rows_of(x)
        return y.permute(0, 3, 1, 2), x

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor | None, d_x: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return d_x, None, None, None, None, None, None
        x, gain, bias, weight, mean, deviation = ctx.saved_tensors
        outputs = weight.shape[0]
        product = weight.flatten(1).to(_product_type(gradient.dtype))
        scale = gain / deviation
        shift = bias - mean * scale
        dx = torch.empty_like(x, memory_format=torch.channels_last)
        d_scale, d_shift, d_weight = (torch.zeros_like(t) for t in (scale, shift, weight))
        d_matrix = d_weight.view(outputs, -1)
        d_results = rows_of(gradient)
        maps = [rows_of(x), rows_of(dx), d_results[:, :outputs]]
        if ctx.joins:
            maps.append(d_results[:, outputs:])
        elif d_x is not None:
            maps.append(rows_of(d_x))
        through_weight = product.dtype == weight.dtype and _divides(gain, bias)
        first, second = (a_piece(x, product.dtype) for _ in range(2))
        for rows, d_rows, d_result, *d_others in pieces_of(*maps):
            rectified = _rectified(rows, scale, shift, first)
            d_product = d_result.to(product.dtype)
            d_matrix += d_product.T @ rectified
            d_affine = torch.mm(d_product, product, out=second[: len(rows)])
            torch.ops.aten.threshold_backward.grad_input(
                d_affine, rectified, 0, grad_input=d_affine
            )
            d_shift += column_sums(d_affine, d_shift.dtype)
            if d_others:
                torch.addcmul(d_others[0], d_affine, scale, out=d_rows)
            else:
                torch.mul(d_affine, scale, out=d_rows)
            if not through_weight:
                d_scale += column_sums(d_affine.mul_(rows), d_scale.dtype)
        if through_weight:
            # The sum of gradient times result of the ReLU, which is gain times what is wanted
            # plus bias times d_shift, follows from the weight's gradient without a look at maps.
            d_gain = ((d_matrix * product).sum(0) - bias * d_shift) / gain
        else:
            d_gain = (d_scale - mean * d_shift) / deviation
        d_base = gradient[:, :outputs] if ctx.joins else None
        return dx, d_gain, d_shift, d_weight, d_base, -scale * d_shift, -scale * d_gain


def _divides(gain: Tensor, bias: Tensor) -> bool:
    """Whether a sum that contains the bias loses few digits when it is divided by the gain."""
    return bool((1024 * gain.abs() > bias.abs()).all())


def _rectified(rows: Tensor, scale: Tensor, shift: Tensor, scratch: Tensor) -> Tensor:
    """``relu(rows * scale + shift)``, in scratch memory."""
    return torch.addcmul(shift, rows, scale, out=scratch[: len(rows)]).relu_()


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
