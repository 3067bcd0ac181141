"""Search spaces: what they hold, how networks are encoded, and how spaces are written."""

import dataclasses
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from search_space import (
    SPACES,
    ZOO,
    HeadSpec,
    NetworkSpec,
    SearchSpace,
    SpecError,
    StemSpec,
    UnknownName,
    space,
)
from search_space.found import FOUND
from search_space.space import Choices

IMAGENET = (
    *("condensenet-a", "condensenet-b", "condensenet-c", "condensenet-c4"),
    *(f"condensenetv2-{name}{less}" for name in "abc" for less in ("", "-without-sfr")),
)
CIFAR = (
    *(f"condensenet-{depth}" for depth in (50, 74, 86, 98, 110, 122)),
    *("condensenetv2-110", "condensenetv2-146"),
    *("sparsenet-bc-100-k12", "sparsenet-bc-100-k24", "sparsenet-bc-100-k16-32-64"),
    "densenet-bc-100-k12",
)
POINTS = [
    *(("imagenet-224", name) for name in IMAGENET),
    *(("cifar-32", name) for name in CIFAR),
    *(("cifar-32-fast", name) for name in FOUND),
]

# 2 x 2 x 2 x 2 combinations a stage, twice, and two transitions.
TINY = SearchSpace(
    name="tiny",
    image_size=8,
    classes=4,
    stem_strides=(1,),
    depths=((1, 2), (1, 2)),
    growth_rates=((4, 6), (4, 8)),
    groups=(1, 4),
    condense_factors=(1,),
    sparse_factors=(2,),
    sfr=("none",),
    fetches=("dense", "exponential-2"),
    blocks=(1,),
)


def samples(space: SearchSpace, count: int) -> list[Choices]:
    """Random choices that are networks."""
    rng = np.random.default_rng(0)
    found: list[Choices] = []
    while len(found) < count:
        choices = space.sample(rng)
        try:
            space.decode(choices)
        except SpecError:
            continue
        found.append(choices)
    return found


# --- What the spaces hold ---------------------------------------------------------------------


@pytest.mark.parametrize(("space_name", "name"), POINTS)
def test_networks_of_the_zoo_are_points(space_name: str, name: str) -> None:
    found = SPACES[space_name]
    spec = ZOO[name].replace(classes=found.classes)
    choices = found.encode(spec)
    assert set(choices) == {d.name for d in found.dimensions}
    assert all(choices[d.name] in d.choices for d in found.dimensions)
    assert found.decode(choices).id == spec.id
    assert spec in found


@pytest.mark.parametrize("space_name", SPACES)
def test_no_other_network_of_the_zoo_is_a_point(space_name: str) -> None:
    """Those of other stages, stems, heads and growth rates are told so."""
    found = SPACES[space_name]
    inside = [name for name, spec in ZOO.items() if spec.replace(classes=found.classes) in found]
    assert sorted((space_name, name) for name in inside) == sorted(
        point for point in POINTS if point[0] == space_name
    )


def test_a_network_of_sums_is_told_why_it_is_outside() -> None:
    with pytest.raises(SpecError, match="stages are of the kinds residual, residual, residual;"):
        SPACES["cifar-32"].encode(ZOO["resnet-56"])


def test_what_a_point_is_called() -> None:
    choices = SPACES["imagenet-224"].encode(ZOO["condensenetv2-b"])
    assert [choices[f"stage{i}_depth"] for i in range(1, 6)] == [2, 4, 6, 8, 6]
    assert [choices[f"stage{i}_growth_rate"] for i in range(1, 6)] == [6, 12, 24, 48, 96]
    assert {
        choices[f"stage{i}_{what}"]
        for i in range(1, 6)
        for what in ("groups", "condense_factor", "sparse_factor")
    } == {6}
    assert (choices["stage3_sfr"], choices["stage3_fetch"]) == ("all", "dense")
    assert (choices["se_from_stage"], choices["hard_swish_from_stage"]) == (4, 3)
    assert (choices["transition"], choices["head_features"]) == ("pool", 1024)


@pytest.mark.parametrize("name", SPACES)
def test_spaces_are_large(name: str) -> None:
    assert SPACES[name].volume > 10**12
    assert SPACES[name].name == name


@pytest.mark.parametrize("name", SPACES)
def test_encoding_is_one_way_of_writing_each_network(name: str) -> None:
    found = SPACES[name]
    for choices in samples(found, 60):
        spec = found.decode(choices)
        once = found.encode(spec)
        again = found.decode(once)
        assert again.id == spec.id
        assert found.encode(again) == once
        assert spec in found


def test_dimensions_are_what_varies() -> None:
    assert [(d.name, d.choices, d.ordered) for d in TINY.dimensions] == [
        ("stage1_depth", (1, 2), True),
        ("stage1_growth_rate", (4, 6), True),
        ("stage1_groups", (1, 4), True),
        ("stage1_fetch", ("dense", "exponential-2"), False),
        ("stage2_depth", (1, 2), True),
        ("stage2_growth_rate", (4, 8), True),
        ("stage2_groups", (1, 4), True),
        ("stage2_fetch", ("dense", "exponential-2"), False),
        ("transition", ("pool", "conv-0.5"), False),
    ]
    assert TINY.volume == 2**9


def test_every_combination_of_a_tiny_space_is_found_again() -> None:
    names = [d.name for d in TINY.dimensions]
    ids = set()
    for values in itertools.product(*(d.choices for d in TINY.dimensions)):
        spec = TINY.decode(dict(zip(names, values, strict=True)))
        assert TINY.decode(TINY.encode(spec)).id == spec.id
        ids.add(spec.id)
    # Growth 6 has no 4 groups, depth 1 no fetching. A stage: depth x fetch is 3 networks of 4;
    # growth x groups 3 of 4 in the first, 4 in the second.
    assert len(ids) == (3 * 3) * (3 * 4) * 2


def test_decoding_by_hand() -> None:
    spec = TINY.decode(
        {
            "stage1_depth": 2,
            "stage1_growth_rate": 6,
            "stage1_groups": 4,
            "stage1_fetch": "exponential-2",
            "stage2_depth": 1,
            "stage2_growth_rate": 8,
            "stage2_groups": 4,
            "stage2_fetch": "dense",
            "transition": "conv-0.5",
        }
    )
    assert spec.image_size == 8
    assert spec.classes == 4
    assert spec.stem == StemSpec(channels=12, stride=1)
    first, second = spec.stages
    # 4 does not divide 6: the next choice below that does is 1.
    assert (first.depth, first.growth_rate, first.groups_1x1, first.groups_3x3) == (2, 6, 1, 1)
    assert (first.fetch, first.fetch_base) == ("exponential", 2)
    assert (second.groups_1x1, second.groups_3x3, second.sfr_groups) == (4, 4, 4)
    assert (spec.transition.kind, spec.transition.compression) == ("conv", 0.5)
    assert spec.head == HeadSpec()


def test_late_stages_attend_and_change_activation() -> None:
    found = TINY.replace(
        head_features=(20,), se_from_stages=(0, 2), hard_swish_from_stages=(0, 1, 2)
    )
    choices = samples(found, 1)[0] | {"se_from_stage": 2, "hard_swish_from_stage": 1}
    spec = found.decode(choices)
    assert [stage.se_reduction for stage in spec.stages] == [0, 1]
    assert [stage.activation for stage in spec.stages] == ["hard_swish", "hard_swish"]
    assert (spec.head.features, spec.head.se_reduction) == (20, 16)
    neither = found.decode(choices | {"se_from_stage": 0, "hard_swish_from_stage": 0})
    assert [stage.se_reduction for stage in neither.stages] == [0, 0]
    assert [stage.activation for stage in neither.stages] == ["relu", "relu"]


def test_samples_are_uniform_and_follow_the_generator() -> None:
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    drawn = [TINY.sample(rng) for _ in range(2000)]
    assert drawn == [TINY.sample(same) for _ in range(2000)]
    for d in TINY.dimensions:
        share = sum(c[d.name] == d.choices[0] for c in drawn) / len(drawn)
        assert share == pytest.approx(0.5, abs=0.05)


INSIDE = TINY.decode(
    {
        "stage1_depth": 2,
        "stage1_growth_rate": 4,
        "stage1_groups": 4,
        "stage1_fetch": "dense",
        "stage2_depth": 1,
        "stage2_growth_rate": 8,
        "stage2_groups": 4,
        "stage2_fetch": "dense",
        "transition": "pool",
    }
)
FIRST, SECOND = INSIDE.stages
OUTSIDE = {
    "depth": INSIDE.replace(stages=(dataclasses.replace(FIRST, depth=3), SECOND)),
    "growth rate": INSIDE.replace(stages=(FIRST, dataclasses.replace(SECOND, growth_rate=12))),
    "groups": INSIDE.replace(
        stages=(FIRST, dataclasses.replace(SECOND, groups_1x1=2, groups_3x3=2))
    ),
    "bottleneck": INSIDE.replace(stages=(FIRST, dataclasses.replace(SECOND, bottleneck=2))),
    "sfr": INSIDE.replace(stages=(FIRST, dataclasses.replace(SECOND, sfr="all"))),
    "fetch base": INSIDE.replace(
        stages=(dataclasses.replace(FIRST, fetch="exponential", fetch_base=3), SECOND)
    ),
    "stem": INSIDE.replace(stem=StemSpec(channels=9)),
    "image size": INSIDE.replace(image_size=16),
    "classes": INSIDE.replace(classes=5),
    "head": INSIDE.replace(head=HeadSpec(features=30)),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_network_outside_is_told_so(what: str) -> None:
    spec = OUTSIDE[what]
    with pytest.raises(SpecError, match=f"the network {spec.id} is not in the space tiny"):
        TINY.encode(spec)
    assert spec not in TINY
    assert INSIDE in TINY


def test_a_network_of_fewer_stages_is_told_so() -> None:
    with pytest.raises(SpecError, match="the network has 3 stages, those of tiny have 2"):
        TINY.encode(ZOO["condensenet-86"])
    assert ZOO["condensenet-86"] not in TINY
    assert "condensenet-86" not in TINY


def test_choices_that_are_no_network_are_named_by_layer() -> None:
    greedy = TINY.replace(condense_factors=(9,))
    lowest = {d.name: d.choices[0] for d in greedy.dimensions}
    with pytest.raises(SpecError, match=r"stage 1, layer 1: `condense_factor` \(=9\)"):
        greedy.decode(lowest)


# --- Written forms ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_a_space_survives_writing(name: str, tmp_path: Path) -> None:
    written = SPACES[name].to_dict()
    assert SearchSpace.from_dict(json.loads(json.dumps(written))) == SPACES[name]
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(written), encoding="utf-8")
    again = space(str(path))
    assert again == SPACES[name]


def test_numbers_come_in_their_order() -> None:
    assert TINY.replace(groups=(4, 1)).groups == (1, 4)


SPACE_YAML = """
name: small
image_size: 16
classes: 10
stem_strides: [1]
depths: [[1, 2], [2]]
growth_rates: [[8], [8, 16]]
groups: [4]
condense_factors: [4]
sparse_factors: [1]
sfr: [none]
fetches: [dense]
transitions: [pool]
blocks: [1]
"""


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_a_space_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"small.{suffix}"
    path.write_text(SPACE_YAML, encoding="utf-8")
    found = space(str(path))
    assert [d.name for d in found.dimensions] == ["stage1_depth", "stage2_growth_rate"]
    assert found.volume == 4
    spec = found.decode({"stage1_depth": 2, "stage2_growth_rate": 16})
    assert [(s.depth, s.growth_rate, s.condense_factor) for s in spec.stages] == [
        (2, 8, 4),
        (2, 16, 4),
    ]


def test_a_space_whose_stride_could_not_vary_is_read() -> None:
    data = space_data(stem_stride=2)
    del data["stem_strides"]
    assert SearchSpace.from_dict(data).stem_strides == (2,)


def test_the_stride_of_the_stem_may_vary() -> None:
    varied = TINY.replace(stem_strides=(1, 2))
    assert varied.volume == 2 * TINY.volume
    choices = samples(varied, 1)[0]
    for stride in (1, 2):
        spec = varied.decode({**choices, "stem_stride": stride})
        assert spec.stem.stride == stride
        assert varied.encode(spec)["stem_stride"] == stride


@pytest.mark.parametrize("name", SPACES)
def test_a_space_by_name(name: str) -> None:
    assert space(name) is SPACES[name]


def test_an_unknown_space_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownName, match="'imagenet'; known: cifar-32, cifar-32-fast, imagenet-224"
    ):
        space("imagenet")


def space_data(**changes: Any) -> dict[str, Any]:
    return {
        "name": "bad",
        "image_size": 8,
        "classes": 4,
        "stem_strides": [1],
        "depths": [[1, 2]],
        "growth_rates": [[4, 8]],
        **changes,
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "a search space must be a mapping of field names to choices"),
        ([1], "a search space must be a mapping of field names to choices"),
        ("cifar-32", "a search space must be a mapping of field names to choices"),
        (
            space_data(kernels=[3, 5]),
            "a search space has no field `kernels`; its fields: blocks, classes",
        ),
        ({"name": "bad"}, "a search space must be complete: "),
        (space_data(depths=[]), "`depths` (=[]) must be a list of"),
        (space_data(depths=[[]]), "`depths[0]` (=[]) must be a list of"),
        (space_data(groups=[]), "`groups` (=[]) must be a list of"),
        (space_data(fetches=[]), "`fetches` (=[]) must be a list of"),
        (
            space_data(depths=[[1], [2]]),
            "`depths` (of 2 stages) and `growth_rates` (of 1) must have the same number of stages",
        ),
        (space_data(image_size=0), "`image_size` (=0) must be a whole number of at least 1"),
        (space_data(classes=True), "`classes` (=True) must be a whole number of at least 1"),
        (
            space_data(stem_strides=["2"]),
            "`stem_strides` (=['2']) must hold whole numbers of at least 1",
        ),
    ],
)
def test_a_bad_space_is_named_by_field_and_rule(data: object, message: str) -> None:
    with pytest.raises(SpecError) as error:
        SearchSpace.from_dict(data)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [1", "cannot be read: not YAML: while parsing"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "a search space must be a mapping"),
        (b"name: x", "a search space must be complete"),
        (b"nam: x", "a search space has no field `nam`"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as error:
        space(str(path))
    assert str(error.value).startswith(f"{path}: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"missing\.yaml: cannot be read"):
        space(str(tmp_path / "missing.yaml"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("groups", 4, "`groups` (=4) must be a list"),
        ("groups", ["a"], "must hold whole numbers of at least 1, at most 1,000,000, not 'a'"),
        ("groups", [0], "must hold whole numbers of at least 1, at most 1,000,000, not 0"),
        ("sfr", "all", "`sfr` (='all') must be a list"),
        ("sfr", ["some"], "must hold none, all, last-N or every-N, not 'some'"),
        ("fetches", ["exponential-1"], "must hold dense or exponential-C with C at least 2"),
        ("fetches", ["exponential-x"], "must hold dense or exponential-C with C at least 2"),
        ("transitions", ["conv-0"], "must hold pool or conv-X with X in (0, 1]"),
        ("transitions", [1], "must hold pool or conv-X with X in (0, 1]"),
        ("depths", 3, "`depths` (=3) must be a list of choices per stage"),
        ("depths", [[1, 1]], "must not hold a choice twice"),
        (
            "growth_rates",
            [["a"]],
            "must hold whole numbers of at least 1, at most 1,000,000, not 'a'",
        ),
        ("name", 3, "`name` (=3) must be a text"),
    ],
)
def test_every_choice_is_checked_when_the_space_is_made(
    field: str, value: object, message: str
) -> None:
    with pytest.raises(SpecError) as error:
        SearchSpace.from_dict(space_data(**{field: value}))
    assert message in str(error.value)


def test_a_file_with_an_impossible_date_is_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("d: 2020-13-45", encoding="utf-8")
    with pytest.raises(SpecError, match=r"odd\.yaml: cannot be read"):
        SearchSpace.load(path)


def test_a_network_with_several_writings_is_found_in_the_one_that_the_space_has() -> None:
    space = SearchSpace(
        name="writings",
        image_size=8,
        classes=4,
        stem_strides=(1,),
        depths=((2,),),
        growth_rates=((8,),),
        sfr=("none", "last-4"),
        fetches=("exponential-2", "dense"),
    )
    everything = {d.name: d.choices[-1] for d in space.dimensions}
    found = space.encode(space.decode(everything))
    assert found["stage1_sfr"] == "last-4", "which is `all` of two layers"
    assert space.decode(found).id == space.decode(everything).id


def test_a_space_of_one_network_contains_it() -> None:
    space = SearchSpace(
        name="one",
        image_size=8,
        classes=4,
        stem_strides=(1,),
        depths=((1,),),
        growth_rates=((4,),),
        groups=(1,),
        condense_factors=(1,),
        sparse_factors=(1,),
        sfr=("none",),
        fetches=("dense",),
        transitions=("pool",),
        blocks=(1,),
    )
    assert space.dimensions == ()
    assert space.decode({}) in space


def test_networks_far_outside_are_refused_quickly_with_a_reason() -> None:
    outside = ZOO["condensenet-c"].replace(
        stages=tuple(replace(s, depth=97) for s in ZOO["condensenet-c"].stages)
    )
    with pytest.raises(SpecError, match="`stage1_depth` would be 97"):
        SPACES["imagenet-224"].encode(outside)


# --- Blocks -----------------------------------------------------------------------------------


def blocks_of(spec: NetworkSpec) -> list[int]:
    return [stage.condense_block for stage in spec.stages]


BLOCKY: Choices = {
    "stage1_depth": 1,
    "stage1_growth_rate": 8,
    "stage1_condense_factor": 2,
    "stage2_depth": 1,
    "stage2_growth_rate": 12,
    "stage2_condense_factor": 2,
    "transition": "pool",
    "block": 8,
}


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        # A stem of 16 and layers of 8; 12 is made of fours.
        ({}, [8, 4]),
        ({"block": 2}, [2, 2]),
        ({"block": 1}, [1, 1]),
        # A transition leaves half of 16 + 8, and a network of 12 and 8 has gcd 4.
        ({"transition": "conv-0.5"}, [8, 2]),
        # As many blocks as C must be there: 16 / 4, then 8 / 4.
        ({"stage1_condense_factor": 4}, [4, 4]),
        ({"stage2_condense_factor": 4}, [8, 2]),
    ],
)
def test_blocks_give_way_to_what_a_stage_reads(changes: Choices, blocks: list[int]) -> None:
    found = TINY.replace(
        depths=((1, 2), (1, 2)),
        growth_rates=((8, 4), (8, 12)),
        groups=(1,),
        condense_factors=(1, 2, 4),
        sparse_factors=(1,),
        fetches=("dense",),
        blocks=(1, 2, 4, 8),
    )
    assert blocks_of(found.decode(BLOCKY | changes)) == blocks


def test_a_sparse_factor_without_reactivation_leaves_blocks_alone() -> None:
    found = TINY.replace(
        growth_rates=((8,), (8,)),
        groups=(1,),
        condense_factors=(2,),
        sparse_factors=(1, 8),
        # Nothing reactivates in a stage of two layers, or what does reaches nobody.
        sfr=("none", "every-3", "all"),
        fetches=("dense",),
        blocks=(1, 8),
    )
    choices = {d.name: d.choices[0] for d in found.dimensions} | {"block": 8}
    for sfr, block in (("none", 8), ("every-3", 8), ("all", 1)):
        spec = found.decode(choices | {"stage1_sfr": sfr, "stage1_sparse_factor": 8})
        assert blocks_of(spec)[0] == block
        assert found.decode(found.encode(spec)).id == spec.id


def test_groups_and_blocks_that_all_give_way_are_found_again() -> None:
    found = TINY.replace(groups=(4, 8), condense_factors=(2,), blocks=(4, 8))
    spec = found.decode(
        {d.name: d.choices[-1] for d in found.dimensions} | {"stage1_growth_rate": 6}
    )
    assert (spec.stages[0].groups_1x1, blocks_of(spec)[0]) == (1, 1)
    assert found.decode(found.encode(spec)).id == spec.id
