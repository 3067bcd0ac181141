"""Stages of shuffled halves."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_space import NetworkSpec, ShuffleStage, SpecError, StemSpec, build, cost


def network(*stages: ShuffleStage, stem: int = 4) -> NetworkSpec:
    return NetworkSpec(image_size=8, classes=4, stem=StemSpec(channels=stem), stages=stages)


STAGE = ShuffleStage(channels=12, units=("3", "3"))


def rows(spec: NetworkSpec, step: str) -> list[tuple[str, str, int]]:
    fragment = next(s.fragment for s in spec.plan("condensed").steps if s.name == step)
    return [(op.name, type(op).__name__, op.output.channels) for op in fragment.ops]


def test_the_first_unit_keeps_what_it_reads_and_adds_the_rest() -> None:
    assert rows(network(STAGE), "stage1_layer1") == [
        ("pass_depth", "Conv", 4),
        ("pass_depth_norm", "Norm", 4),
        ("pass_point", "Conv", 4),
        ("pass_point_norm", "Norm", 4),
        ("pass_point_act", "Activation", 4),
        ("point1", "Conv", 6),
        ("point1_norm", "Norm", 6),
        ("point1_act", "Activation", 6),
        ("depth", "Conv", 6),
        ("depth_norm", "Norm", 6),
        ("point2", "Conv", 8),
        ("point2_norm", "Norm", 8),
        ("point2_act", "Activation", 8),
        ("features", "Concat", 12),
    ]


def test_xception_units_have_three_depthwise_convolutions() -> None:
    names = [
        name
        for name, kind, _ in rows(network(replace(STAGE, units=("3", "xception"))), "stage1_layer2")
        if kind == "Conv"
    ]
    assert names == ["depth1", "point1", "depth2", "point2", "depth3", "point3"]


@torch.no_grad()
def test_even_channels_pass_and_odd_ones_are_worked_on() -> None:
    built = build(network(STAGE), generator=torch.Generator().manual_seed(0)).eval()
    x = torch.randn((2, 12, 4, 4), generator=torch.Generator().manual_seed(1))
    (y,) = built.get_submodule("steps.stage1_layer2")(x)
    assert y[:, :6].equal(x[:, ::2])

    def part(name: str) -> nn.Module:
        module: nn.Module = built.get_submodule(f"steps.stage1_layer2.{name}")
        return module

    worked: Tensor = part("point1_norm")(part("point1")(x[:, 1::2])).relu()
    worked = part("depth_norm")(part("depth")(worked))
    worked = part("point2_norm")(part("point2")(worked)).relu()
    torch.testing.assert_close(y[:, 6:], worked)


@torch.no_grad()
def test_reactivation_updates_what_passes_with_what_was_worked_out() -> None:
    """CondenseNetV2, section 4.3: each of as many groups as targets updates one of them."""
    spec = network(replace(STAGE, sfr="all", sparse_factor=6, sfr_groups=6))
    built = build(spec, generator=torch.Generator().manual_seed(0)).eval()
    built.condense(1.0)
    x = torch.randn((2, 12, 4, 4), generator=torch.Generator().manual_seed(1))
    (y,) = built.get_submodule("steps.stage1_layer2")(x)
    layer = built.learned_layers["steps.stage1_layer2.sfr"]
    assert layer.mask.sum(1).tolist() == [1] * 6
    assert layer.weight.shape == (6, 6, 3, 3)
    passed = x[:, ::2].clone()
    worked = y[:, 6:]
    activated = built.get_submodule("steps.stage1_layer2.sfr_norm")(worked).relu()
    for group in range(6):
        target = int(layer.mask[group].nonzero())
        weight = layer.weight[target, group][None, None]
        passed[:, target] += nn.functional.conv2d(
            activated[:, group : group + 1], weight, padding=1
        )[:, 0]
    torch.testing.assert_close(y[:, :6], passed, rtol=1e-4, atol=1e-5)


def test_reactivation_of_one_target_per_group_costs_a_depthwise_convolution() -> None:
    stage = replace(STAGE, units=("3",) * 4)
    plain = network(stage)
    updated = network(replace(stage, sfr="all", sparse_factor=6, sfr_groups=6))
    # The first unit has nothing to reactivate. The other three: 6 windows and a norm.
    assert cost(updated).macs - cost(plain).macs == 3 * 6 * 9 * 4 * 4
    assert cost(updated).params - cost(plain).params == 3 * (6 * 9 + 2 * 6)


def test_the_first_unit_does_not_reactivate() -> None:
    stage = replace(STAGE, sfr="all", sparse_factor=2)
    assert stage.reactivating_layers == {1}
    assert stage.learns
    alone = replace(stage, units=("3",))
    assert alone.reactivating_layers == frozenset()
    assert not alone.learns


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (STAGE, replace(STAGE, sparse_factor=3, sfr_groups=2, sfr_kernel=1, sfr_order="post")),
        (STAGE, replace(STAGE, sfr="every-9")),
        (replace(STAGE, units=("3",)), replace(STAGE, units=("3",), sfr="all")),
        (replace(STAGE, sfr="all"), replace(STAGE, sfr="all", sfr_groups=3)),
        # Of two units the first never reactivates.
        (replace(STAGE, sfr="all"), replace(STAGE, sfr="last-1")),
        (replace(STAGE, sfr="all"), replace(STAGE, sfr="every-2")),
    ],
)
def test_choices_without_effect_share_an_id(one: ShuffleStage, other: ShuffleStage) -> None:
    assert network(one).id == network(other).id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 13}, "`channels` (=13) must be even"),
        ({"units": ()}, "`units` (=()) must list at least one unit"),
        ({"units": "3"}, "`units` (='3') must list at least one unit"),
        ({"units": ("3", "9")}, "`units` must hold only 3, 5, 7, xception, not '9'"),
        ({"units": (3,)}, "`units` must hold only 3, 5, 7, xception, not 3"),
        ({"sfr": "all", "sfr_groups": 4}, "`channels` / 2 (=6) must be divisible by `sfr_groups`"),
        ({"sfr_kernel": 2}, "`sfr_kernel` (=2) must be odd"),
        ({"sfr_order": "before"}, "`sfr_order` (='before') must be one of pre, post"),
        ({"activation": "swish"}, "`activation` (='swish') must be one of relu, hard_swish"),
    ],
)
def test_a_bad_stage_is_named_by_field_value_and_rule(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as error:
        replace(STAGE, **changes)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            STAGE,
            "stage 1, layer 1: `channels` (=12) must be above those that the stage reads (=12)",
        ),
        (
            replace(STAGE, channels=14, se_reduction=4),
            "stage 1, layer 1: `se_reduction` (=4) must be at most the channels of the branch (=2)",
        ),
        (
            replace(STAGE, channels=24, sfr="all", sparse_factor=13),
            "stage 1, layer 2: `sparse_factor` (=13) must be at most the features that it updates",
        ),
    ],
)
def test_what_cannot_exist_is_named_by_place(stage: ShuffleStage, message: str) -> None:
    with pytest.raises(SpecError) as error:
        network(stage, stem=12)
    assert str(error.value).startswith(message)
