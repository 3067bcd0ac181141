"""Stages whose layers are summed: pre-activation ResNet, and SparseNet[+] with sparse sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from search_space.dense_block import plainest_reduction
from search_space.fetch import FETCH_RULES, fetched, plainest_fetch
from search_space.plan import Learned, Pen, Planner
from search_space.rules import (
    ACTIVATIONS,
    MOST_LAYERS,
    check_divides,
    check_hidden,
    check_one_of,
    check_whole,
)


class UnitSettings(NamedTuple):
    """What one unit needs to know of its stage; the key under which it is cached."""

    channels: int
    inner: int
    learned: Learned
    groups_3x3: int
    activation: str
    se_reduction: int
    stride: int


def first_unit(pen: Pen, inputs: Sequence[Any], s: UnitSettings, merged: bool) -> tuple[Any, ...]:
    """The unit that changes channels and resolution, beside a projection that does so too."""
    x = pen.concat("fetch", inputs)
    if x.channels == s.channels and s.stride == 1:
        shortcut, y = x, pen.learned_conv("reduce", x, s.inner, s.learned, s.activation)
    elif s.learned.factor == 1:
        x = pen.norm_act("reduce", x, s.activation)
        shortcut = pen.conv("shortcut", x, s.channels, kernel=1, stride=s.stride)
        y = pen.conv("reduce", x, s.inner, kernel=1)
    else:
        y = pen.learned_conv("reduce", x, s.inner, s.learned, s.activation)
        x = pen.norm_act("shortcut", x, s.activation)
        shortcut = pen.conv("shortcut", x, s.channels, kernel=1, stride=s.stride)
    y = _after_reduction(pen, y, s)
    return (pen.sum("add", (shortcut, y)),) if merged else (shortcut, y)


def unit(pen: Pen, inputs: Sequence[Any], s: UnitSettings, merged: bool) -> tuple[Any, ...]:
    """Bottleneck unit on the sum of what it fetches; ``merged`` ones add that sum to theirs."""
    x = pen.sum("fetch", inputs)
    y = pen.learned_conv("reduce", x, s.inner, s.learned, s.activation)
    y = _after_reduction(pen, y, s)
    return (pen.sum("add", (x, y)),) if merged else (y,)


def _after_reduction(pen: Pen, y: Any, s: UnitSettings) -> Any:
    y = pen.norm_act("conv", y, s.activation)
    y = pen.conv("conv", y, s.inner, kernel=3, stride=s.stride, groups=s.groups_3x3)
    y = pen.learned_conv("expand", y, s.channels, s.learned, s.activation)
    return pen.squeeze_excite("se", y, s.se_reduction) if s.se_reduction else y


def total(pen: Pen, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """The sum that leaves a stage."""
    return (pen.sum("sum", inputs),)


@dataclass(frozen=True, kw_only=True)
class ResidualStage:
    """Pre-activation bottleneck units of one resolution that are summed.

    With ``dense`` fetch each unit reads the sum of everything before it, which is a ResNet; with
    ``exponential`` fetch the sum of what it fetches, which is a SparseNet[+] (SparseNet,
    section 3; how the sums cross a change of channels is not published: the projections are those
    that make the printed parameter counts).

    Args:
        depth: Units.
        channels: Channels of every output.
        bottleneck: Channels over those of the 3x3 convolution.
        stride: Of the first unit.
        groups_1x1: Groups G of the two learned 1x1 convolutions.
        condense_factor: C of both; 1 is a dense convolution.
        groups_3x3: Groups of the 3x3 convolution.
        fetch: ``dense`` or ``exponential``.
        fetch_base: Base c of the exponential offsets.
        condense_block: Channels that learned layers keep or drop together.
        se_reduction: Squeeze-and-excitation at the end: channels per hidden unit; 0 for none.
        activation: ``relu`` or ``hard_swish``.

    Raises:
        SpecError: a value breaks a rule; the message names it.
    """

    kind: ClassVar[str] = "residual"
    strides_itself: ClassVar[bool] = True

    depth: int
    channels: int
    bottleneck: int = 4
    stride: int = 1
    groups_1x1: int = 1
    condense_factor: int = 1
    groups_3x3: int = 1
    fetch: str = "dense"
    fetch_base: int = 2
    condense_block: int = 1
    se_reduction: int = 0
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_whole(self, "depth", most=MOST_LAYERS)
        check_whole(self, "channels", "bottleneck", "stride", "groups_1x1")
        check_whole(self, "condense_factor", "groups_3x3", "condense_block")
        check_whole(self, "se_reduction", least=0)
        check_whole(self, "fetch_base", least=2)
        check_one_of(self, "fetch", FETCH_RULES)
        check_one_of(self, "activation", ACTIVATIONS)
        check_divides(self.channels, "`channels`", self, "bottleneck")
        inner = self.channels // self.bottleneck
        check_divides(inner, "`channels` / `bottleneck`", self, "groups_3x3")
        check_divides(inner, "`channels` / `bottleneck`", self, "groups_1x1")
        check_hidden(self.se_reduction, self.channels, "`channels`")

    @property
    def learns(self) -> bool:
        """Whether anything here condenses."""
        return self.condense_factor > 1

    @property
    def summary(self) -> dict[str, int | str]:
        """What one line about a network says of a stage."""
        dense = self.fetch == "dense"
        return {
            "d": self.depth,
            "sum": self.channels,
            "G": self.groups_1x1,
            "C": self.condense_factor,
            "fetch": self.fetch if dense else f"{self.fetch}-{self.fetch_base}",
        }

    def write(self, planner: Planner, number: int, entries: Sequence[Any]) -> Sequence[Any]:
        """The units of the stage; returns one value, the sum that leaves it."""
        s = UnitSettings(
            self.channels,
            self.channels // self.bottleneck,
            Learned(self.groups_1x1, self.condense_factor, self.condense_block),
            self.groups_3x3,
            self.activation,
            self.se_reduction,
            self.stride,
        )
        # However it is written that every unit reads everything, the sum is kept, not its parts.
        merged = plainest_fetch(self.depth, self.fetch, self.fetch_base)[0] == "dense"
        values = list(planner.step(f"stage{number}_layer1", first_unit, entries, s, merged))
        s = s._replace(stride=1)
        for layer in range(2, self.depth + 1):
            inputs = [values[p] for p in fetched(len(values), self.fetch, self.fetch_base)]
            outputs = planner.step(f"stage{number}_layer{layer}", unit, inputs, s, merged)
            values = list(outputs) if merged else [*values, *outputs]
        if merged:
            return values
        last = [values[p] for p in fetched(len(values), self.fetch, self.fetch_base)]
        return planner.step(f"stage{number}_sum", total, last)

    def canonical(self) -> ResidualStage:
        """The same stage with every choice that has no effect at its plainest value."""
        fetch, base = plainest_fetch(self.depth, self.fetch, self.fetch_base)
        changes: dict[str, Any] = {"fetch": fetch, "fetch_base": base}
        if not self.learns:
            changes |= {"groups_1x1": 1, "condense_block": 1}
        changes["se_reduction"] = plainest_reduction(self.se_reduction, self.channels)
        return dataclasses.replace(self, **changes)
