"""Stages whose layers are summed."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_space import NetworkSpec, ResidualStage, SpecError, StemSpec, build, cost


def network(*stages: ResidualStage, stem: int = 8) -> NetworkSpec:
    return NetworkSpec(image_size=8, classes=4, stem=StemSpec(channels=stem), stages=stages)


STAGE = ResidualStage(depth=3, channels=16)


def stage_params(spec: NetworkSpec) -> int:
    """Parameters of everything but stem and head."""
    return sum(
        op.params
        for step in spec.plan("masked").steps
        if step.name.startswith("stage")
        for op in step.fragment.ops
    )


def test_a_stage_has_the_parameters_of_bottleneck_units() -> None:
    channels, inner = 16, 4
    unit = (
        (2 * channels + channels * inner)
        + (2 * inner + 9 * inner**2)
        + (2 * inner + inner * channels)
    )
    # The first unit reads 8 channels and projects them to 16 behind the same norm.
    first = (2 * 8 + 8 * inner) + (2 * inner + 9 * inner**2) + (2 * inner + inner * channels)
    assert stage_params(network(STAGE)) == first + 8 * channels + 2 * unit
    # Where nothing changes there is no projection.
    assert stage_params(network(STAGE, stem=16)) == 3 * unit


def test_sparse_sums_cost_what_dense_ones_cost() -> None:
    sparse = network(replace(STAGE, depth=6, fetch="exponential"))
    plain = network(replace(STAGE, depth=6))
    assert cost(sparse).params == cost(plain).params
    assert cost(sparse).macs == cost(plain).macs
    assert sparse.id != plain.id


@torch.no_grad()
def by_hand(network: Any, x: Tensor, reads: list[tuple[int, ...]] | None) -> Tensor:
    """Three units written out: each the sum of what it reads, or of all before it."""

    def part(name: str) -> nn.Module:
        module: nn.Module = network.get_submodule(f"steps.{name}")
        return module

    def inside(layer: str, x: Tensor) -> Tensor:
        for name in ("reduce", "conv", "expand"):
            x = part(f"{layer}.{name}")(part(f"{layer}.{name}_norm")(x).relu())
        return x

    x = part("stem.conv")(x)
    activated = part("stage1_layer1.reduce_norm")(x).relu()
    shortcut = part("stage1_layer1.shortcut")(activated)
    outputs = [shortcut, inside("stage1_layer1", x)]
    for layer in (2, 3):
        read = reads[layer - 2] if reads else range(len(outputs))
        total = torch.stack([outputs[i] for i in read]).sum(0)
        outputs.append(inside(f"stage1_layer{layer}", total))
    last = reads[-1] if reads else range(len(outputs))
    x = torch.stack([outputs[i] for i in last]).sum(0)
    pooled = part("head.final_norm")(x).relu().mean((2, 3))
    logits: Tensor = part("head.classifier")(pooled)
    return logits


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("fetch", "reads"),
    [
        # A ResNet reads the sum of everything: x + f1, x + f1 + f2, ...
        ("dense", None),
        # Outputs 0 (the shortcut), 1, 2, 3, read at offsets 1, 2, 4.
        ("exponential", [(0, 1), (1, 2), (0, 2, 3)]),
    ],
)
@torch.no_grad()
def test_units_by_hand(fetch: str, reads: list[tuple[int, ...]] | None, stride: int) -> None:
    spec = network(replace(STAGE, fetch=fetch, stride=stride))
    built = build(spec, generator=torch.Generator().manual_seed(0)).double().eval()
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(1))
            module.bias.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(2))
    x = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(3)).double()
    torch.testing.assert_close(built(x), by_hand(built, x, reads))


def test_the_first_unit_alone_has_the_stride() -> None:
    spec = network(replace(STAGE, stride=2), replace(STAGE, channels=32, stride=2))
    sizes = {
        step.name: step.fragment.outputs[0].size
        for step in spec.plan("condensed").steps
        if step.name.startswith("stage")
    }
    assert set(sizes.values()) == {4, 2}
    assert {name for name, size in sizes.items() if size == 2} == {
        f"stage2_layer{i}" for i in (1, 2, 3)
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (STAGE, replace(STAGE, groups_1x1=4)),
        (STAGE, replace(STAGE, condense_block=4)),
        (STAGE, replace(STAGE, fetch_base=5)),
        (replace(STAGE, se_reduction=5), replace(STAGE, se_reduction=4 + 1)),
        (replace(STAGE, se_reduction=9), replace(STAGE, se_reduction=16)),
    ],
)
def test_choices_without_effect_share_an_id(one: ResidualStage, other: ResidualStage) -> None:
    assert network(one).id == network(other).id


def test_a_sum_of_two_is_the_sum_of_all() -> None:
    """After one unit there are two outputs, which any rule of base 2 reads."""
    one = replace(STAGE, depth=1)
    assert network(one).id == network(replace(one, fetch="exponential")).id
    assert network(STAGE).id != network(replace(STAGE, fetch="exponential")).id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 0}, "`depth` (=0) must be a whole number of at least 1"),
        ({"stride": 0}, "`stride` (=0) must be a whole number of at least 1"),
        ({"channels": 18}, "`channels` (=18) must be divisible by `bottleneck` (=4)"),
        (
            {"groups_3x3": 3},
            "`channels` / `bottleneck` (=4) must be divisible by `groups_3x3` (=3)",
        ),
        (
            {"groups_1x1": 8},
            "`channels` / `bottleneck` (=4) must be divisible by `groups_1x1` (=8)",
        ),
        ({"fetch": "all"}, "`fetch` (='all') must be one of dense, exponential"),
        ({"se_reduction": 17}, "`se_reduction` (=17) must be at most `channels` (=16)"),
    ],
)
def test_a_bad_stage_is_named_by_field_value_and_rule(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as error:
        replace(STAGE, **changes)
    assert str(error.value).startswith(message)


def test_too_few_channels_to_condense_are_named_by_place() -> None:
    # The 3x3 convolution has 4 channels, of which 1x1 after it cannot keep a fifth.
    with pytest.raises(SpecError, match=r"^stage 1, layer 1: `condense_factor` \(=5\)"):
        network(replace(STAGE, condense_factor=5))
