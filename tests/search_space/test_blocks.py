"""The kinds of stages, alike where they are used alike."""

import json

import pytest

from search_space import BLOCKS, NetworkSpec, SpecError, StemSpec, cost

PLAIN = {
    "dense": {"depth": 2, "growth_rate": 8},
    "residual": {"depth": 2, "channels": 16},
    "shuffle": {"channels": 24, "units": ["3", "5"]},
}
DATA = {"image_size": 8, "classes": 4, "stem": {"channels": 8}}


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_stage_is_known_by_its_kind(kind: str) -> None:
    assert BLOCKS[kind].kind == kind
    written = {"block": kind, **PLAIN[kind]}
    spec = NetworkSpec.from_dict({**DATA, "stages": [written]})
    assert isinstance(spec.stages[0], BLOCKS[kind])
    # What was written is still there, beside the defaults, and can be written again.
    again = json.loads(spec.to_json())["stages"][0]
    assert again | written == again
    assert NetworkSpec.from_json(spec.to_json()) == spec


def test_a_stage_of_no_kind_is_dense() -> None:
    spec = NetworkSpec.from_dict({**DATA, "stages": [PLAIN["dense"]]})
    assert spec.stages[0].kind == "dense"


@pytest.mark.parametrize("kind", ["condensed", None, 3])
def test_an_unknown_kind_lists_the_known_ones(kind: object) -> None:
    with pytest.raises(SpecError) as error:
        NetworkSpec.from_dict({**DATA, "stages": [{"block": kind, **PLAIN["dense"]}]})
    assert str(error.value) == (
        f"stage 1: `block` (={kind!r}) must be one of dense, residual, shuffle"
    )


def test_equal_numbers_in_other_kinds_are_other_networks() -> None:
    specs = [
        NetworkSpec.from_dict({**DATA, "stages": [{"block": kind, **PLAIN[kind]}]})
        for kind in BLOCKS
    ]
    assert len({spec.id for spec in specs}) == len(BLOCKS)
    assert len({cost(spec).macs for spec in specs}) == len(BLOCKS)


@pytest.mark.parametrize("first", BLOCKS)
@pytest.mark.parametrize("second", BLOCKS)
def test_only_dense_stages_need_a_transition(first: str, second: str) -> None:
    wide = {**PLAIN[second], **({} if second == "dense" else {"channels": 64})}
    stages = (BLOCKS[first](**PLAIN[first]), BLOCKS[second](**wide))
    spec = NetworkSpec(image_size=8, classes=4, stem=StemSpec(channels=8), stages=stages)
    steps = [step.name for step in spec.plan("masked").steps]
    assert ("transition1" in steps) == (second == "dense")
