"""Stem, transition and head."""

from typing import Any

import pytest
import torch
from torch import nn

from search_space import (
    DenseStage,
    HeadSpec,
    NetworkSpec,
    SpecError,
    StemSpec,
    TransitionSpec,
    build,
    cost,
)
from search_space.network import Network
from search_space.plan import Form

STAGE = DenseStage(depth=1, growth_rate=4)


def network(**parts: Any) -> NetworkSpec:
    fields: dict[str, Any] = {"stem": StemSpec(channels=8), "stages": (STAGE, STAGE), **parts}
    return NetworkSpec(image_size=16, classes=6, **fields)


def rows(spec: NetworkSpec, step: str, form: Form = "condensed") -> list[tuple[str, str, int, int]]:
    """Name, class, channels and size written."""
    fragment = next(s.fragment for s in spec.plan(form).steps if s.name == step)
    return [(op.name, type(op).__name__, op.output.channels, op.output.size) for op in fragment.ops]


def test_a_stem_may_be_normed_and_pooled() -> None:
    spec = network(stem=StemSpec(channels=8, kernel=7, stride=2, normed=True, pooled=True))
    assert rows(spec, "stem") == [
        ("conv", "Conv", 8, 8),
        ("conv_norm", "Norm", 8, 8),
        ("conv_act", "Activation", 8, 8),
        ("pool", "MaxPool", 8, 4),
    ]
    assert rows(network(), "stem") == [("conv", "Conv", 8, 16)]


def test_a_learned_transition_condenses() -> None:
    kind = TransitionSpec(kind="learned", compression=0.4, groups_1x1=2, condense_factor=3)
    spec = network(transition=kind)
    # 12 channels: 0.4 of them rounded down to 4, up to a multiple of 2; each group keeps 4.
    assert rows(spec, "transition1") == [
        ("reduce_gather", "Gather", 8, 16),
        ("reduce_norm", "Norm", 8, 16),
        ("reduce_act", "Activation", 8, 16),
        ("reduce", "Conv", 4, 16),
        ("reduce_shuffle", "Shuffle", 4, 16),
        ("pool", "AvgPool", 4, 8),
    ]
    assert rows(spec, "transition1", "masked")[2] == ("reduce", "LearnedConv", 4, 16)
    saved = 4 * (12 - 4)
    assert cost(spec).training_macs - cost(spec).macs == saved * 16 * 16
    # The condensed norm holds what is gathered: 8 of 12 channels.
    assert cost(spec).training_params - cost(spec).params == saved + 2 * (12 - 8)


def test_outputs_of_a_learned_transition_are_rounded_up_to_its_groups() -> None:
    kind = TransitionSpec(kind="learned", compression=0.4, groups_1x1=3, condense_factor=2)
    assert rows(network(transition=kind), "transition1")[-1] == ("pool", "AvgPool", 6, 8)


def test_a_head_with_everything() -> None:
    head = HeadSpec(
        conv_features=20, grid=2, se_reduction=4, se_normed=True, features=10, condense_factor=3
    )
    assert rows(network(head=head), "head") == [
        ("final_norm", "Norm", 16, 8),
        ("final_act", "Activation", 16, 8),
        ("conv", "Conv", 20, 8),
        ("conv_norm", "Norm", 20, 8),
        ("conv_act", "Activation", 20, 8),
        ("pool", "AvgPool", 20, 2),
        ("flatten", "Flatten", 80, 1),
        ("se", "SqueezeExcite", 80, 1),
        ("features", "Linear", 10, 1),
        ("features_act", "Activation", 10, 1),
        ("classifier_gather", "Gather", 3, 1),
        ("classifier", "Linear", 6, 1),
    ]


def test_a_head_without_norm_and_bias() -> None:
    plain = network(head=HeadSpec(normed=False, bias=False))
    assert [name for name, *_ in rows(plain, "head")] == ["pool", "classifier"]
    assert cost(network()).params - cost(plain).params == 2 * 16 + 6


@pytest.mark.parametrize(("grid", "kernel", "stride"), [(2, 4, 4), (3, 4, 2), (8, 1, 1), (5, 4, 1)])
def test_a_grid_covers_the_whole_map(grid: int, kernel: int, stride: int) -> None:
    spec = network(head=HeadSpec(grid=grid))
    step = spec.plan("masked").steps[-1]
    pool = next(op for op in step.fragment.ops if op.name == "pool")
    assert (pool.kernel, pool.stride) == (kernel, stride)
    assert (grid - 1) * stride + kernel == 8
    classifier = step.fragment.ops[-1]
    assert classifier.input.channels == 16 * grid**2


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"head": HeadSpec(grid=9)}, "head: `grid` (=9) of the head must be at most the side of"),
        ({"head": HeadSpec(se_reduction=17)}, "head: `se_reduction` (=17) of the head must be at"),
        ({"head": HeadSpec(condense_factor=17)}, "head: `condense_factor` (=17) of the head must"),
        (
            {"transition": TransitionSpec(kind="conv", compression=0.05)},
            "transition 1: `compression` (=0.05) leaves none of 12 channels",
        ),
        (
            {"transition": TransitionSpec(kind="learned", condense_factor=13)},
            "transition 1: `condense_factor` (=13) must be at most the inputs of the layer (=12)",
        ),
    ],
)
def test_what_cannot_exist_is_named_by_place(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        network(**parts)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (StemSpec, {"channels": 8, "normed": 1}, "`normed` (=1) must be true or false"),
        (StemSpec, {"channels": 8, "pooled": None}, "`pooled` (=None) must be true or false"),
        (TransitionSpec, {"groups_1x1": 2}, "`groups_1x1` (=2) must be 1 where `kind` is pool;"),
        (
            TransitionSpec,
            {"kind": "conv", "condense_factor": 2},
            "`condense_factor` (=2) must be 1 where `kind` is conv; use learned",
        ),
        (HeadSpec, {"condense_at": "export"}, "`condense_at` (='export') must be one of training"),
        (HeadSpec, {"bias": 0}, "`bias` (=0) must be true or false"),
        (HeadSpec, {"grid": 0}, "`grid` (=0) must be a whole number of at least 1"),
    ],
)
def test_a_bad_part_is_named_by_field_value_and_rule(
    kind: type, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as error:
        kind(**fields)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"head": HeadSpec(activation="relu")}),
        ({}, {"head": HeadSpec(se_normed=True)}),
        ({}, {"head": HeadSpec(condense_at="conversion")}),
        ({}, {"stem": StemSpec(channels=8, activation="hard_swish")}),
    ],
)
def test_choices_without_effect_share_an_id(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert network(**one).id == network(**other).id


def test_when_a_classifier_is_condensed_changes_the_network_and_not_its_cost() -> None:
    during, after = (
        network(head=HeadSpec(condense_factor=2, condense_at=when))
        for when in ("training", "conversion")
    )
    assert during.id != after.id
    assert cost(during).to_dict() == cost(after).to_dict()


# --- The classifier of a built network --------------------------------------------------------


def built(condense_at: str) -> Network:
    head = HeadSpec(condense_factor=4, condense_at=condense_at)
    return build(network(head=head), generator=torch.Generator().manual_seed(0)).eval()


def test_a_classifier_condensed_in_training_drops_in_its_first_half() -> None:
    one = built("training")
    layer = one.learned_layers["steps.head.classifier"]
    # 16 features to 4 in three drops, the last at half time.
    kept = []
    for progress in (0.0, 0.16, 0.17, 0.34, 0.49, 0.5):
        one.condense(progress)
        kept.append(int(layer.mask.sum()))
    assert kept == [16, 16, 12, 8, 8, 4]
    assert one.to_inference().form == "condensed"


@torch.no_grad()
def test_a_classifier_condensed_at_conversion_waits_for_it() -> None:
    one = built("conversion")
    layer = one.learned_layers["steps.head.classifier"]
    one.condense(1.0)
    assert layer.mask.all()
    with pytest.raises(ValueError, match=r"steps\.head\.classifier still has .*for_conversion\(\)"):
        one.to_inference()
    one.condense_for_conversion()
    largest = layer.weight.abs().sum(0).topk(4).indices.sort().values
    assert layer.kept_index()[0].equal(largest)
    condensed = one.to_inference()
    classifier = condensed.get_submodule("steps.head.classifier")
    assert isinstance(classifier, nn.Linear)
    assert classifier.weight.equal(layer.weight[:, largest])
    x = torch.randn((2, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(condensed(x), one(x))


def test_the_initial_masks_keep_everything() -> None:
    for when in ("training", "conversion"):
        assert all(layer.mask.all() for layer in built(when).learned_layers.values())
