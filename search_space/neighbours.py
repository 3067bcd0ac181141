"""The networks that differ from one in a single choice of a single stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from search_space.blocks import Stage
from search_space.errors import SpecError
from search_space.rules import ACTIVATIONS
from search_space.space import SearchSpace
from search_space.spec import NetworkSpec

LISTED: Mapping[str, tuple[Any, ...]] = {
    "groups_1x1": SearchSpace.groups,
    "groups_3x3": SearchSpace.groups,
    "sfr_groups": SearchSpace.groups,
    "condense_factor": SearchSpace.condense_factors,
    "sparse_factor": SearchSpace.sparse_factors,
    "sfr": SearchSpace.sfr,
    "fetch": SearchSpace.fetches,
    "condense_block": SearchSpace.blocks,
    "se_reduction": (0,),
    "activation": ACTIVATIONS,
}
"""Choices that a stage might make otherwise, by its field: those of search spaces. A fetch rule has
its base with it."""

NUMBERS = ("depth", "growth_rate", "channels", "bottleneck")
"""Those of which the next value is taken."""

FARTHEST = 64
"""How far the next value is looked for, where it is no more than twice the present one anyway."""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A network that differs in one choice.

    Attributes:
        stage: The number of the stage, from 1.
        choice: The field that differs.
        before: What it is.
        after: What it would be.
        spec: The network.
    """

    stage: int
    choice: str
    before: int | str
    after: int | str
    spec: NetworkSpec

    def __str__(self) -> str:
        return f"stage {self.stage}: {self.choice} {self.before} -> {self.after}"


def neighbours(spec: NetworkSpec) -> Iterator[Neighbour]:
    """Every network that differs in one choice of one stage, each once.

    Depths, growth rates, channels and bottlenecks vary to the next value down and up with which the
    stage can exist, so that its groups divide them; all else over ``LISTED``. What is no network is
    left out, as is what differs in nothing that has an effect.
    """
    seen = {spec.id}
    for position, stage in enumerate(spec.stages):
        for choice, before, after, changes in _changes(stage):
            stages = list(spec.stages)
            try:
                stages[position] = dataclasses.replace(stage, **changes)
                other = spec.replace(stages=tuple(stages))
            except SpecError:
                continue
            if other.id not in seen:
                seen.add(other.id)
                yield Neighbour(
                    stage=position + 1, choice=choice, before=before, after=after, spec=other
                )


_Change = tuple[str, Any, Any, dict[str, Any]]
"""A choice, what it is and would be, and the fields that say so."""


def _changes(stage: Stage) -> Iterator[_Change]:
    for field in dataclasses.fields(stage):
        before = getattr(stage, field.name)
        if field.name == "units":
            yield "depth", len(before), len(before) - 1, {"units": before[:-1]}
        elif field.name == "fetch":
            yield from _fetches(stage)
        elif field.name in LISTED:
            for after in LISTED[field.name]:
                yield field.name, before, after, {field.name: after}
        elif field.name in NUMBERS:
            for after in _next(stage, field.name):
                yield field.name, before, after, {field.name: after}


def _fetches(stage: Any) -> Iterator[_Change]:
    dense = stage.fetch == "dense"
    before = stage.fetch if dense else f"{stage.fetch}-{stage.fetch_base}"
    for after in LISTED["fetch"]:
        rule, _, base = after.partition("-")
        yield "fetch", before, after, {"fetch": rule, "fetch_base": int(base or 2)}


def _next(stage: Stage, name: str) -> Iterator[int]:
    """The next values of a field down and up with which the stage can exist."""
    before = getattr(stage, name)
    farthest = max(2 * before, before + FARTHEST)
    for values in (range(before - 1, -1, -1), range(before + 1, farthest + 1)):
        yield from islice((v for v in values if _exists(stage, **{name: v})), 1)


def _exists(stage: Stage, **changes: Any) -> bool:
    try:
        dataclasses.replace(stage, **changes)
    except SpecError:
        return False
    return True
