"""Scores at initialisation: their formulas on networks one can see, and what they leave alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from search_space import NetworkSpec, UserError
from search_space.build import build
from search_space.errors import UnknownName
from trainers.data import DataSplits
from trainers.order import epoch_order
from trainers.zero_cost import (
    ZERO_COST,
    ScoreFailed,
    first_batch,
    gradient_norm,
    jacobian_covariance,
    naswot,
    synflow,
    zero_cost_scores,
)

NO_LABELS = torch.empty(0, dtype=torch.long)


def linear(weights: list[list[float]]) -> nn.Linear:
    """A layer of these weights, without biases."""
    weight = torch.tensor(weights)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


def images(*rows: list[float]) -> Tensor:
    """``(N, units, 1, 1)``"""
    return torch.tensor(rows)[:, :, None, None]


# --- Formulas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Hardswish])
def test_naswot_is_the_determinant_of_how_many_units_agree(
    activation: Callable[[], nn.Module],
) -> None:
    network = nn.Sequential(nn.Flatten(), activation())

    def score(*codes: list[float]) -> float:
        return naswot(network, images(*codes), NO_LABELS)

    one = [1.0, 2.0, 0.5, 3.0]
    assert score(one, [1.0, 1.0, 1.0, -1.0]) == pytest.approx(math.log(4**2 - 3**2))
    assert score(one, [1.0, -1.0, 1.0, -1.0]) == pytest.approx(math.log(4**2 - 2**2))
    assert score(one, [-1.0, -1.0, -1.0, -1.0]) == pytest.approx(math.log(4**2))
    assert score(one, one) == -math.inf


def test_naswot_counts_the_units_of_all_layers() -> None:
    layer = linear([[1.0, 0.0], [0.0, 1.0]])
    network = nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True), layer, nn.ReLU())
    # (+, +, +, +) and (+, -, +, 0): what is not above zero is off.
    found = naswot(network, images([1.0, 1.0], [1.0, -1.0]), NO_LABELS)
    assert found == pytest.approx(math.log(4**2 - 2**2))


def test_synflow_of_a_linear_network_is_its_flow_once_per_layer() -> None:
    network = nn.Sequential(nn.Flatten(), linear([[1.0, -2.0], [0.5, 0.0]]), linear([[-3.0, 4.0]]))
    flow = 3 * (1 + 2) + 4 * 0.5
    assert synflow(network, images([7.0, -9.0]), NO_LABELS) == pytest.approx(math.log(2 * flow))


def test_synflow_of_a_network_looks_at_the_size_of_its_weights_alone(small: NetworkSpec) -> None:
    network = build(small, generator=torch.Generator().manual_seed(0))
    size = torch.empty(5, 3, 8, 8)
    score = synflow(network, size, NO_LABELS)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.neg_()
            else:
                parameter.add_(1.0)
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.add_(1.0)
    assert synflow(network, size[:1], NO_LABELS) == pytest.approx(score)
    stem = next(p for p in network.parameters() if p.dim() == 4)
    with torch.no_grad():
        stem.mul_(10)
    # Every path begins in the stem.
    assert synflow(network, size, NO_LABELS) == pytest.approx(score + math.log(10))


def test_synflow_does_not_flow_through_what_is_dropped(small: NetworkSpec) -> None:
    network = build(small, generator=torch.Generator().manual_seed(0))
    before = synflow(network, torch.empty(1, 3, 8, 8), NO_LABELS)
    network.condense(1.0)
    assert synflow(network, torch.empty(1, 3, 8, 8), NO_LABELS) < before


def test_gradient_norm_is_that_of_the_cross_entropy() -> None:
    network = nn.Sequential(nn.Flatten(), linear([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    # Both classes have the probability 1/2: the gradients are -x/2 and x/2.
    found = gradient_norm(network, images([1.0, 2.0, 2.0]), torch.tensor([0]))
    assert found == pytest.approx(math.sqrt(2) * 3 / 2)


def test_jacobian_covariance_is_highest_where_gradients_are_unlike() -> None:
    network = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Flatten())
    # The gradient of a unit is 1 where it is on.
    unlike = jacobian_covariance(
        network, images([1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]), NO_LABELS
    )
    like = jacobian_covariance(
        network, images([1.0, 1.0, -1.0, -1.0], [2.0, 3.0, -1.0, -4.0]), NO_LABELS
    )
    k = 1e-5
    assert unlike == pytest.approx(-2 * (math.log(1 + k) + 1 / (1 + k)))
    expected = -(math.log(2 + k) + 1 / (2 + k) + math.log(k) + 1 / k)
    assert like == pytest.approx(expected, rel=1e-6)
    off = images([-1.0, -1.0, -1.0, -1.0], [2.0, 3.0, -1.0, -4.0])
    assert math.isnan(jacobian_covariance(network, off, NO_LABELS))


# --- What they are a function of -----------------------------------------------------------------


@pytest.mark.parametrize("name", ZERO_COST)
def test_a_network_and_torchs_generator_are_left_as_they_were(
    name: str, small: NetworkSpec, few: DataSplits
) -> None:
    network = build(small, generator=torch.Generator().manual_seed(0)).eval()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    pixels, labels = first_batch(few, seed=0, batch=16)
    shown = pixels.clone()
    state = torch.get_rng_state()
    modules = list(network.modules())
    score = ZERO_COST[name](network, pixels, labels)
    assert math.isfinite(score)
    assert ZERO_COST[name](network, pixels, labels) == score
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(pixels, shown)
    assert not pixels.requires_grad
    assert list(network.modules()) == modules
    assert not any(module.training or module._forward_pre_hooks for module in modules)
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[key]), key


def test_same_seed_same_scores(network: NetworkSpec, few: DataSplits) -> None:
    scores = zero_cost_scores(network, few, resolution=8, seed=3, batch=32)
    assert list(scores) == list(ZERO_COST)
    torch.manual_seed(5)
    assert zero_cost_scores(network, few, resolution=8, seed=3, batch=32) == scores
    other = zero_cost_scores(network, few, resolution=8, seed=4, batch=32)
    assert all(other[name] != scores[name] for name in scores)
    alone = zero_cost_scores(network, few, resolution=8, seed=3, batch=32, scores=["synflow"])
    assert alone == {"synflow": scores["synflow"]}


def test_the_images_are_those_of_the_first_update(few: DataSplits) -> None:
    pixels, labels = first_batch(few, seed=7, batch=10)
    (indices,) = epoch_order(96, 10, shards=1, seed=7, epoch=0)[0]
    assert torch.equal(labels, few.train.labels[indices])
    assert pixels.shape == (10, 3, 8, 8)
    assert len(first_batch(few, seed=7, batch=1000)[1]) == 96


def test_nothing_is_dropped_at_the_beginning(network: NetworkSpec, few: DataSplits) -> None:
    stages = tuple(dataclasses.replace(s, condense_factor=1) for s in network.stages)  # type: ignore[arg-type]
    found = [
        zero_cost_scores(spec, few, resolution=8, seed=0, batch=16)
        for spec in (network, network.replace(stages=stages))
    ]
    assert found[0] == pytest.approx(found[1])


def test_a_wider_network_tells_images_apart_better(network: NetworkSpec, few: DataSplits) -> None:
    stages = tuple(dataclasses.replace(s, growth_rate=32) for s in network.stages)  # type: ignore[arg-type]
    narrow, wide = (
        zero_cost_scores(spec, few, resolution=8, seed=0, batch=32)
        for spec in (network, network.replace(stages=stages))
    )
    assert wide["naswot"] > narrow["naswot"]


# --- What is refused -----------------------------------------------------------------------------


def test_a_score_that_is_no_number_is_a_failure(network: NetworkSpec, few: DataSplits) -> None:
    same = few.train.select(torch.zeros(8, dtype=torch.long))
    data = dataclasses.replace(few, train=same)
    with pytest.raises(ScoreFailed, match=r"zero-cost score naswot of .* is -inf"):
        zero_cost_scores(network, data, resolution=8, seed=0, batch=8)


def test_bad_input_is_named(network: NetworkSpec, few: DataSplits) -> None:
    with pytest.raises(UnknownName, match=r"'nasswot'; known: .*naswot"):
        zero_cost_scores(network, few, resolution=8, seed=0, scores=["nasswot"])
    with pytest.raises(UserError, match=r"`batch_size` \(=1\) must be at least 2"):
        zero_cost_scores(network, few, resolution=8, seed=0, batch=1)


def test_the_registry_is_not_written_to() -> None:
    with pytest.raises(TypeError):
        ZERO_COST["mine"] = naswot  # type: ignore[index]
