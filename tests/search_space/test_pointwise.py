"""Norm, ReLU and 1x1 convolution as one: the numbers of the separate modules."""

import copy
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space import pieces, pointwise
from search_space.pointwise import reactivated
from search_space.statistics import (
    Statistics,
    concatenated,
    known_statistics,
    remember,
    with_statistics,
)

CHANNELS, OUTPUTS = 6, 10


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def a_norm(*, training: bool, momentum: float | None = 0.1) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(CHANNELS, momentum=momentum, dtype=torch.float64).train(training)
    for seed, tensor in enumerate((*norm.parameters(), norm.running_mean)):
        assert tensor is not None
        tensor.data.copy_(random(CHANNELS, seed=seed))
    assert norm.running_var is not None
    norm.running_var.copy_(random(CHANNELS, seed=9).square() + 0.1)
    return norm


def normed_pointwise(x: Tensor, norm: nn.BatchNorm2d, weight: Tensor) -> Tensor:
    return pointwise.normed_pointwise(x, norm, weight)[0]


def plain_pointwise(x: Tensor, norm: nn.BatchNorm2d, weight: Tensor) -> Tensor:
    return F.conv2d(norm(x).relu(), weight)


def plain_reactivated(x: Tensor, new: Tensor, norm: nn.BatchNorm2d, weight: Tensor) -> Tensor:
    return torch.cat([x + plain_pointwise(new, norm, weight), new], 1)


def run(
    function: Callable[..., Tensor], maps: list[Tensor], **norm_settings: object
) -> tuple[list[Tensor], list[Tensor]]:
    """Output and gradients; buffers of the norm."""
    norm = a_norm(**norm_settings)  # type: ignore[arg-type]
    weight = random(OUTPUTS, CHANNELS, 1, 1, seed=3).requires_grad_()
    leaves = [m.clone().requires_grad_() for m in maps]
    y = function(*leaves, norm, weight)
    # More than the mean matters: each position has a weight of its own.
    (y * random(*y.shape, seed=4)).sum().backward()
    gradients = [t.grad for t in (*leaves, weight, *norm.parameters())]
    assert all(g is not None for g in gradients)
    return [y, *(g for g in gradients if g is not None)], list(norm.buffers())


LAYOUTS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("piece_bytes", [1, 3 * CHANNELS * 8, 2**20])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "norm_settings",
    [
        {"training": True},
        {"training": False},
        {"training": True, "momentum": None},
        {"training": True, "momentum": 0.0},
    ],
)
def test_results_gradients_and_statistics_are_those_of_the_modules(
    norm_settings: dict[str, object],
    layout: torch.memory_format,
    piece_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", piece_bytes)
    x = random(2, CHANNELS, 3, 5, seed=5).contiguous(memory_format=layout) + 2
    base = random(2, OUTPUTS, 3, 5, seed=6).contiguous(memory_format=layout)
    for function, plain, maps in (
        (normed_pointwise, plain_pointwise, [x]),
        (reactivated, plain_reactivated, [base, x]),
    ):
        found, expected = run(function, maps, **norm_settings), run(plain, maps, **norm_settings)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_channels_of_a_wider_map_are_read_in_place() -> None:
    wide = random(2, CHANNELS + 4, 3, 3, seed=5).contiguous(memory_format=torch.channels_last)
    maps = [wide[:, :CHANNELS]]
    found, expected = (
        run(normed_pointwise, maps, training=True),
        run(plain_pointwise, maps, training=True),
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gain", [0.0, 1e-30, 1e-4])
def test_dead_and_small_gains_keep_their_gradients(gain: float) -> None:
    """Where something is divided by the gain, no digits are lost."""

    def with_small_gain(function: Callable[..., Tensor]) -> list[Tensor]:
        norm = a_norm(training=True).float()
        norm.weight.data[::2] = gain
        weight = random(OUTPUTS, CHANNELS, 1, 1, seed=3).float()
        x = random(2, CHANNELS, 3, 3, seed=5).float().requires_grad_()
        y = function(x, norm, weight)
        (y * random(*y.shape, seed=4)).sum().backward()
        return [t.grad for t in (x, norm.weight, norm.bias) if t.grad is not None]

    found, expected = with_small_gain(normed_pointwise), with_small_gain(plain_pointwise)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def block(x: Tensor, layers: int, *, fused: bool) -> list[Tensor]:
    """A dense block of 1x1 layers: its output, gradients, and running statistics."""
    x = x.clone().requires_grad_()
    norms = [nn.BatchNorm2d(CHANNELS * (1 + n), dtype=x.dtype) for n in range(layers)]
    weights = [random(CHANNELS, CHANNELS * (1 + n), 1, 1, seed=n) for n in range(layers)]
    features = x
    for norm, weight in zip(norms, weights, strict=True):
        weight.requires_grad_()
        if fused:
            y, features = pointwise.normed_pointwise(features, norm, weight)
            features = concatenated(features, y)
            assert known_statistics(features) is not None
        else:
            features = torch.cat([features, plain_pointwise(features, norm, weight)], 1)
    (features * random(*features.shape, seed=8)).sum().backward()
    gradients = [t.grad for t in (x, *weights, *(p for n in norms for p in n.parameters()))]
    assert all(g is not None for g in gradients)
    return [
        features,
        *(g for g in gradients if g is not None),
        *(b for n in norms for b in n.buffers()),
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_block_that_shares_statistics_is_one_that_does_not(layout: torch.memory_format) -> None:
    x = random(2, CHANNELS, 3, 5, seed=5).contiguous(memory_format=layout) + 2
    for one, other in zip(block(x, 4, fused=True), block(x, 4, fused=False), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_statistics_are_forgotten_when_a_map_changes() -> None:
    x = random(2, CHANNELS, 3, 5, seed=5).requires_grad_()
    weight = random(CHANNELS, CHANNELS, 1, 1, seed=3)
    y, x = pointwise.normed_pointwise(x, a_norm(training=True), weight)
    features = concatenated(x, y)
    assert known_statistics(features) is not None
    features.add_(1)
    assert known_statistics(features) is None


def test_statistics_stay_behind_when_a_map_is_copied_or_saved(tmp_path: Path) -> None:
    x = random(2, CHANNELS, 3, 5, seed=5)
    features = torch.zeros_like(x)
    remember(features, Statistics(x.mean((0, 2, 3)), x.var((0, 2, 3))))
    assert known_statistics(features) is not None
    assert known_statistics(copy.deepcopy(features)) is None
    torch.save(features, tmp_path / "features.pt")
    loaded = torch.load(tmp_path / "features.pt", weights_only=True)
    torch.testing.assert_close(loaded, features)
    assert known_statistics(loaded) is None


@pytest.mark.parametrize("which", [0, 1])
def test_each_of_the_statistics_has_a_gradient_of_its_own(which: int) -> None:
    x = random(2, CHANNELS, 3, 5, seed=5).requires_grad_()
    (found,) = torch.autograd.grad((with_statistics(x)[1][which] ** 2).sum(), x)
    plain = (x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False))[which]
    (expected,) = torch.autograd.grad((plain**2).sum(), x)
    torch.testing.assert_close(found, expected)


def test_maps_are_freed_without_a_backward_pass() -> None:
    x = random(2, CHANNELS, 3, 5, seed=5).requires_grad_()
    weight = random(CHANNELS, CHANNELS, 1, 1, seed=3)
    features = x * 1
    seen = [weakref.ref(features)]
    for norm in (a_norm(training=True), nn.BatchNorm2d(2 * CHANNELS, dtype=x.dtype)):
        y, features = pointwise.normed_pointwise(features, norm, weight)
        features = concatenated(features, y)
        seen += [weakref.ref(y), weakref.ref(features)]
        weight = random(CHANNELS, 2 * CHANNELS, 1, 1, seed=3)
    assert all(ref() is not None for ref in (seen[-1], seen[-2]))
    del y, features
    assert [ref() for ref in seen] == [None] * len(seen)


@pytest.mark.parametrize("native", [True, False])
def test_autocast_writes_half_precision_and_rounds_no_more_than_the_modules(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointwise, "_MULTIPLIES_HALF", native)
    x = random(4, CHANNELS, 5, 5, seed=5)
    weight = random(OUTPUTS, CHANNELS, 1, 1, seed=3)
    norm = a_norm(training=True)
    expected = plain_pointwise(x, norm, weight)
    half, single, kernel = x.bfloat16(), a_norm(training=True).float(), weight.float()
    kernel.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = normed_pointwise(half, single, kernel)
        usual = plain_pointwise(half, a_norm(training=True).float(), kernel)
    assert found.dtype == usual.dtype == torch.bfloat16
    assert (found - expected).norm() < 1.5 * (usual - expected).norm()
    found.sum().backward()
    assert kernel.grad is not None
    assert kernel.grad.dtype == torch.float32
    (expected_gradient,) = torch.autograd.grad(usual.sum(), kernel)
    torch.testing.assert_close(kernel.grad, expected_gradient, rtol=0.05, atol=1.0)
