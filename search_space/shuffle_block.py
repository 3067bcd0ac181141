"""Stages of shuffled halves: ShuffleNetV2, ShuffleNetV2+, and both with feature reactivation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from search_space.dense_block import SFR_ORDERS, plainest_sfr, sfr_layers
from search_space.errors import SpecError
from search_space.plan import Pen, Planner, Reactivation
from search_space.rules import (
    ACTIVATIONS,
    check_divides,
    check_hidden,
    check_odd,
    check_one_of,
    check_whole,
)

UNITS = ("3", "5", "7", "xception")
"""A kernel of the depth-wise convolution, or three of 3x3, each before a 1x1."""


class UnitSettings(NamedTuple):
    """What one unit needs to know of its stage; the key under which it is cached."""

    channels: int
    unit: str
    activation: str
    se_reduction: int
    sfr: Reactivation | None


def first_unit(pen: Pen, inputs: Sequence[Any], s: UnitSettings, stride: int) -> tuple[Any, ...]:
    """Both halves read everything, at a stride (ShuffleNetV2, figure 3d)."""
    x = pen.concat("fetch", inputs)
    if x.channels >= s.channels:
        raise SpecError(
            f"`channels` (={s.channels}) must be above those that the stage reads"
            f" (={x.channels}): its first unit keeps them and adds the rest; raise it"
        )
    kernel = 3 if s.unit == "xception" else int(s.unit)
    y = pen.conv("pass_depth", x, x.channels, kernel=kernel, stride=stride, groups=x.channels)
    y = pen.conv("pass_point", pen.norm("pass_depth_norm", y), x.channels, kernel=1)
    passed = pen.norm_act("pass_point", y, s.activation)
    return (pen.concat("features", (passed, _branch(pen, x, s.channels - x.channels, s, stride))),)


def unit(pen: Pen, inputs: Sequence[Any], s: UnitSettings) -> tuple[Any, ...]:
    """Even channels pass, odd ones are worked on (ShuffleNetV2, figure 3c); where the unit
    reactivates, its result also updates what passes (CondenseNetV2, section 4.3)."""
    (x,) = inputs
    half = s.channels // 2
    passed, x = pen.split("halves", pen.shuffle("shuffle", x, half), (half, half))
    y = _branch(pen, x, half, s, 1)
    if s.sfr:
        passed = pen.reactivate(passed, y, s.sfr, s.activation)
    return (pen.concat("features", (passed, y)),)


def _branch(pen: Pen, x: Any, outputs: int, s: UnitSettings, stride: int) -> Any:
    inner = s.channels // 2
    if s.unit == "xception":
        for i, channels in enumerate((inner, inner, outputs), start=1):
            x = pen.conv(f"depth{i}", x, x.channels, kernel=3, stride=stride, groups=x.channels)
            x = pen.norm(f"depth{i}_norm", x)
            x = pen.norm_act(
                f"point{i}", pen.conv(f"point{i}", x, channels, kernel=1), s.activation
            )
            stride = 1
    else:
        x = pen.norm_act("point1", pen.conv("point1", x, inner, kernel=1), s.activation)
        x = pen.conv("depth", x, inner, kernel=int(s.unit), stride=stride, groups=inner)
        x = pen.conv("point2", pen.norm("depth_norm", x), outputs, kernel=1)
        x = pen.norm_act("point2", x, s.activation)
    if not s.se_reduction:
        return x
    check_hidden(s.se_reduction, x.channels, "the channels of the branch")
    return pen.squeeze_excite("se", x, s.se_reduction, normed=True)


@dataclass(frozen=True, kw_only=True)
class ShuffleStage:
    """Units of one resolution that work on half of the channels.

    Args:
        channels: Channels of every output.
        units: One per layer: the depth-wise kernel ``3``, ``5`` or ``7``, or ``xception``.
        stride: Of the first unit.
        sfr: Layers that reactivate what passes by: ``none``, ``all``, ``last-N``, ``every-N``;
            the first unit has nothing to reactivate.
        sparse_factor: S; each group updates floor(channels / 2 / S) of the passing features.
        sfr_groups: Groups of the reactivation.
        sfr_kernel: Its kernel.
        sfr_order: ``pre`` or ``post``; see ``DenseStage``.
        se_reduction: Squeeze-and-excitation at the end of a branch, with norm and hard sigmoid:
            channels per hidden unit; 0 for none.
        activation: ``relu`` or ``hard_swish``.

    Raises:
        SpecError: a value breaks a rule; the message names it.
    """

    kind: ClassVar[str] = "shuffle"
    strides_itself: ClassVar[bool] = True

    channels: int
    units: tuple[str, ...]
    stride: int = 2
    sfr: str = "none"
    sparse_factor: int = 1
    sfr_groups: int = 1
    sfr_kernel: int = 3
    sfr_order: str = "pre"
    se_reduction: int = 0
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_whole(self, "channels", "stride", "sparse_factor", "sfr_groups")
        check_whole(self, "se_reduction", least=0)
        check_odd(self, "sfr_kernel")
        check_one_of(self, "sfr_order", SFR_ORDERS)
        check_one_of(self, "activation", ACTIVATIONS)
        if not isinstance(self.units, list | tuple) or not self.units:
            raise SpecError(f"`units` (={self.units!r}) must list at least one unit")
        if unknown := [u for u in self.units if u not in UNITS]:
            raise SpecError(f"`units` must hold only {', '.join(UNITS)}, not {unknown[0]!r}")
        object.__setattr__(self, "units", tuple(self.units))
        if self.channels % 2:
            raise SpecError(f"`channels` (={self.channels}) must be even")
        half = self.channels // 2
        if sfr_layers(self.sfr, self.depth):
            check_divides(half, "`channels` / 2", self, "sfr_groups")

    @property
    def depth(self) -> int:
        """Layers."""
        return len(self.units)

    @property
    def reactivating_layers(self) -> frozenset[int]:
        """The layers (0-based) that reactivate."""
        return sfr_layers(self.sfr, self.depth) - {0}

    @property
    def learns(self) -> bool:
        """Whether anything here condenses."""
        return self.sparse_factor > 1 and bool(self.reactivating_layers)

    @property
    def summary(self) -> dict[str, int | str]:
        """What one line about a network says of a stage."""
        return {"d": self.depth, "shuffle": self.channels, "sfr": self.sfr}

    @cached_property
    def _settings(self) -> tuple[UnitSettings, ...]:
        how = Reactivation(self.sfr_groups, self.sparse_factor, 1, self.sfr_kernel, self.sfr_order)
        return tuple(
            UnitSettings(
                self.channels,
                unit,
                self.activation,
                self.se_reduction,
                how if layer in self.reactivating_layers else None,
            )
            for layer, unit in enumerate(self.units)
        )

    def write(self, planner: Planner, number: int, entries: Sequence[Any]) -> Sequence[Any]:
        """The units of the stage; returns one value."""
        first, *others = self._settings
        x = planner.step(f"stage{number}_layer1", first_unit, entries, first, self.stride)
        for layer, settings in enumerate(others, start=2):
            x = planner.step(f"stage{number}_layer{layer}", unit, x, settings)
        return x

    def canonical(self) -> ShuffleStage:
        """The same stage with every choice that has no effect at its plainest value."""
        placement = plainest_sfr(self.reactivating_layers, self.depth, range(1, self.depth))
        changes: dict[str, Any] = {"sfr": placement}
        if placement == "none":
            changes |= {"sparse_factor": 1, "sfr_groups": 1, "sfr_kernel": 3, "sfr_order": "pre"}
        elif self.sparse_factor == 1:
            changes["sfr_groups"] = 1
        return dataclasses.replace(self, **changes)
