"""Networks that differ in one choice of one stage."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest

from search_space import ZOO, DenseStage, NetworkSpec, ResidualStage, ShuffleStage, StemSpec
from search_space.blocks import Stage
from search_space.neighbours import LISTED, neighbours

NAMES = ("condensenetv2-110", "sfr-shufflenetv2-x0.5", "resnet-56", "sparsenet-bc-100-k12")
TOGETHER = {"fetch_base": "fetch", "units": "depth"}
"""Fields, and the choice that they are written with."""


@pytest.mark.parametrize("name", NAMES)
def test_a_neighbour_differs_in_the_choice_that_it_names(name: str) -> None:
    spec = ZOO[name]
    found = list(neighbours(spec))
    for neighbour in found:
        assert neighbour.before != neighbour.after
        assert spec.replace(stages=neighbour.spec.stages) == neighbour.spec
        changed = {
            (number, TOGETHER.get(field.name, field.name))
            for number, (old, new) in enumerate(
                zip(spec.stages, neighbour.spec.stages, strict=True), start=1
            )
            for field in dataclasses.fields(old)
            if getattr(old, field.name) != getattr(new, field.name)
        }
        assert changed == {(neighbour.stage, neighbour.choice)}
    ids = [spec.id, *(n.spec.id for n in found)]
    assert len(set(ids)) == len(ids), "none is met twice, and none is the network itself"
    assert {n.stage for n in found} == set(range(1, len(spec.stages) + 1))
    assert found == list(neighbours(spec)), "in the same order every time"


def test_choices_of_a_dense_stage() -> None:
    found = [n for n in neighbours(ZOO["condensenet-86"]) if n.stage == 2]
    after: dict[str, set[object]] = {}
    for n in found:
        after.setdefault(n.choice, set()).add(n.after)
    assert after["depth"] == {13, 15}
    assert after["growth_rate"] == {12, 20}, "four groups of 3x3 divide them"
    assert after["bottleneck"] == {3, 5}
    assert after["condense_factor"] == set(LISTED["condense_factor"]) - {4}
    assert after["fetch"] == {"exponential-2", "exponential-3", "exponential-4"}
    assert after["groups_3x3"] == {1, 2, 8}, "six do not divide 16"
    # Reactivation that is off has no groups and no factor that would have an effect.
    assert {"sparse_factor", "sfr_groups"} & after.keys() == set()
    assert str(found[0]) == "stage 2: depth 14 -> 13"


@pytest.mark.parametrize(
    ("stage", "choice", "expected"),
    [
        (DenseStage(depth=2, growth_rate=6, groups_1x1=4, condense_factor=2), "bottleneck", [2, 6]),
        (DenseStage(depth=2, growth_rate=6, groups_3x3=3), "growth_rate", [3, 9]),
        (ResidualStage(depth=2, channels=24, bottleneck=3), "bottleneck", [2, 4]),
        (ResidualStage(depth=2, channels=40, bottleneck=4, groups_3x3=2), "bottleneck", [2, 5]),
        (ResidualStage(depth=2, channels=24, bottleneck=3, groups_3x3=2), "channels", [18, 30]),
        (
            ShuffleStage(channels=48, units=("3",) * 2, sfr="all", sfr_groups=4),
            "channels",
            [40, 56],
        ),
    ],
)
def test_numbers_go_to_the_next_that_the_groups_divide(
    stage: Stage, choice: str, expected: list[int]
) -> None:
    spec = NetworkSpec(image_size=8, classes=3, stem=StemSpec(channels=8), stages=(stage,))
    assert [n.after for n in neighbours(spec) if n.choice == choice] == expected


def test_what_is_no_network_is_left_out() -> None:
    spec = ZOO["condensenet-86"]
    thin = spec.replace(stages=(dataclasses.replace(spec.stages[0], depth=1), *spec.stages[1:]))
    depths = [n.after for n in neighbours(thin) if (n.stage, n.choice) == (1, "depth")]
    assert depths == [2]


def test_two_ways_to_one_network_are_one_neighbour() -> None:
    spec = ZOO["condensenetv2-110"]
    two = dataclasses.replace(spec.stages[0], depth=2)
    short = NetworkSpec.from_dict(spec.replace(stages=(two, *spec.stages[1:])).to_dict())
    placements = [n.after for n in neighbours(short) if (n.stage, n.choice) == (1, "sfr")]
    # Of two layers, every second is the last.
    assert placements == ["none", "last-1"]
    assert all(a != b for a, b in pairwise(placements))
