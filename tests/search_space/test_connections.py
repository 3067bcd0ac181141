"""What layers read and update: two layers by hand, and both forms of every small network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from search_space import ZOO, DenseStage, HeadSpec, NetworkSpec, StemSpec, build
from search_space.connections import Connections, connections
from search_space.modules import LearnedLayer
from search_space.network import Network

Trained = Callable[[NetworkSpec], Network]

NAN = np.nan
TWO_LAYERS = NetworkSpec(
    image_size=8,
    classes=3,
    stem=StemSpec(channels=4),
    stages=(
        DenseStage(
            depth=2,
            growth_rate=4,
            bottleneck=1,
            groups_1x1=2,
            condense_factor=2,
            sfr="all",
            sparse_factor=2,
            sfr_groups=2,
        ),
    ),
)


def keep(network: Network, name: str, kept: list[list[int]]) -> None:
    """Lets each group of a layer keep the channels that are listed for it."""
    layer = network.get_submodule(f"steps.{name}")
    assert isinstance(layer, LearnedLayer)
    for group, channels in enumerate(kept):
        layer.mask[group] = False
        layer.mask[group, channels] = True


@pytest.fixture
def by_hand(trained: Trained) -> Network:
    """Weights of the 1x1 convolutions are 10 x row + column, with changing signs."""
    network = trained(TWO_LAYERS)
    with torch.no_grad():
        for layer, inputs in ((1, 4), (2, 8)):
            weight = 10.0 * torch.arange(4)[:, None] + torch.arange(inputs)
            weight[:, ::2] *= -1
            reduce = network.get_submodule(f"steps.stage1_layer{layer}.reduce")
            assert isinstance(reduce, LearnedLayer)
            reduce.weight.copy_(weight[:, :, None, None])
    keep(network, "stage1_layer1.reduce", [[0, 1], [2, 3]])
    keep(network, "stage1_layer2.reduce", [[0, 1, 6, 7], [0, 2, 4, 6]])
    keep(network, "stage1_layer1.sfr", [[0, 1], [1, 3]])
    return network


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_two_layers_by_hand(form: str, by_hand: Network) -> None:
    found = connections(by_hand if form == "masked" else by_hand.to_inference())
    assert found.sources == ("stem", "stage1_layer1", "stage1_layer2")
    assert found.owner.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    first, second, head = found.readings
    assert [r.layer for r in found.readings] == ["stage1_layer1", "stage1_layer2", "head"]
    assert [r.features.tolist() for r in found.readings] == [[*range(n)] for n in (4, 8, 12)]
    # Rows 0 and 2 are group 0, rows 1 and 3 group 1: their means are 10 and 20 plus the column.
    assert first.weights == second.weights == 2
    np.testing.assert_allclose(first.strength, [[10, 11, NAN, NAN], [NAN, NAN, 22, 23]])
    np.testing.assert_allclose(
        second.strength,
        [[10, 11, NAN, NAN, NAN, NAN, 16, 17], [20, NAN, 22, NAN, 24, NAN, 26, NAN]],
    )
    assert (head.op, head.strength.shape, head.weights) == ("classifier", (1, 12), 3)
    update, _ = found.updates
    assert (update.layer, update.features.tolist()) == ("stage1_layer1", [0, 1, 2, 3])
    assert update.kept.tolist() == [[True, True, False, False], [False, True, False, True]]


def assert_same(one: Connections, other: Connections) -> None:
    assert one.sources == other.sources
    assert one.owner.tolist() == other.owner.tolist()
    for a, b in zip(one.readings, other.readings, strict=True):
        assert (a.layer, a.op, a.weights) == (b.layer, b.op, b.weights)
        assert a.features.tolist() == b.features.tolist()
        np.testing.assert_allclose(a.strength, b.strength, rtol=1e-6)
    for c, d in zip(one.updates, other.updates, strict=True):
        assert (c.layer, c.features.tolist()) == (d.layer, d.features.tolist())
        assert c.kept.tolist() == d.kept.tolist()


def test_both_forms_have_the_same_connections(variant: NetworkSpec, trained: Trained) -> None:
    network = trained(variant)
    found = connections(network)
    assert_same(found, connections(network.to_inference()))
    stages = [r.layer for r in found.readings if r.layer.startswith("stage")]
    assert len(stages) == sum(stage.depth for stage in variant.stages)
    assert len(found.updates) == sum(len(s.reactivating_layers) for s in variant.stages)


def test_shuffled_halves_keep_their_features(trained: Trained) -> None:
    network = trained(ZOO["sfr-shufflenetv2-x0.5"])
    found = connections(network)
    assert_same(found, connections(network.to_inference()))
    # Unit 2 passes one half, works on the other, and reactivates what it passes.
    unit = next(r for r in found.readings if r.layer == "stage1_layer2")
    assert unit.features.tolist() == [*range(25, 25 + 47, 2)]
    assert found.updates[0].features.tolist() == [*range(24, 24 + 48, 2)]


@pytest.mark.parametrize(
    ("fetch", "expected"), [("dense", [1, 2, 3, 4]), ("exponential", [1, 2, 2, 3])]
)
def test_a_layer_reads_the_layers_that_the_rule_fetches(fetch: str, expected: list[int]) -> None:
    stage = DenseStage(depth=4, growth_rate=4, bottleneck=0, fetch=fetch)
    found = connections(build(TWO_LAYERS.replace(stages=(stage,))))
    read = [len(set(found.owner[r.features])) for r in found.readings[:-1]]
    assert read == expected


def test_a_sum_is_made_by_the_unit_that_sums() -> None:
    found = connections(build(ZOO["resnet-56"]))
    steps = [*found.sources, "head"]
    for reading in found.readings:
        (owner,) = set(found.owner[reading.features])
        assert owner == steps.index(reading.layer) - 1


def test_a_grid_is_read_position_by_position(trained: Trained) -> None:
    spec = TWO_LAYERS.replace(head=HeadSpec(grid=2))
    head = connections(trained(spec)).readings[-1]
    assert head.features.tolist() == [f for f in range(12) for _ in range(4)]
