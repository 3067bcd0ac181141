"""Stages whose layers add channels to what they read: CondenseNet, CondenseNetV2, SparseNet,
DenseNet, and whatever lies between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple

from search_space.errors import SpecError, shown
from search_space.fetch import FETCH_RULES, fetched, plainest_fetch, updates_read
from search_space.plan import Learned, Pen, Planner, Reactivation
from search_space.rules import (
    ACTIVATIONS,
    MOST_LAYERS,
    check_divides,
    check_hidden,
    check_odd,
    check_one_of,
    check_whole,
)

SFR_ORDERS = ("pre", "post")
_WHOLE = (
    *("depth", "growth_rate", "groups_1x1", "condense_factor", "groups_3x3"),
    *("sparse_factor", "sfr_groups", "condense_block"),
)


def sfr_layers(placement: str, depth: int) -> frozenset[int]:
    """The layers (0-based) of a stage of ``depth`` layers that reactivate.

    ``placement`` is ``none``, ``all``, ``last-N`` (the last N layers) or ``every-N`` (layers N,
    2N, ... counted from 1).

    Raises:
        SpecError: the placement is none of these.
    """
    layers = _sfr_layers(placement, depth) if isinstance(placement, str) else None
    if layers is None:
        raise SpecError(
            f"`sfr` (={shown(placement)}) must be none, all, last-N (the last N layers of the"
            " stage) or every-N (each Nth layer), with N at least 1"
        )
    return layers


@lru_cache(maxsize=4096)
def _sfr_layers(placement: str, depth: int) -> frozenset[int] | None:
    kind, _, number = placement.partition("-")
    # More digits than any depth has would not fit into an integer's text either.
    n = int(number) if number.isdecimal() and number.isascii() and len(number) < 10 else 0
    if placement == "none":
        return frozenset()
    if placement == "all":
        return frozenset(range(depth))
    if kind == "last" and n:
        return frozenset(range(max(0, depth - n), depth))
    if kind == "every" and n:
        return frozenset(range(n - 1, depth, n))
    return None


@lru_cache(maxsize=4096)
def reactivating(placement: str, depth: int, fetch: str, base: int) -> frozenset[int]:
    """Those of :func:`sfr_layers` that update something which is read after them."""
    wanted = sfr_layers(placement, depth)
    if not wanted:
        return wanted
    read = updates_read(depth, fetch, base)
    return frozenset(i for i in wanted if read[i])


class LayerSettings(NamedTuple):
    """What one layer needs to know of its stage; the key under which it is cached."""

    growth_rate: int
    bottleneck: int
    learned: Learned
    groups_3x3: int
    activation: str
    se_reduction: int
    sfr: Reactivation | None


def dense_layer(pen: Pen, inputs: Sequence[Any], s: LayerSettings, merged: bool) -> tuple[Any, ...]:
    """One layer: 1x1 (unless ``bottleneck`` is 0), 3x3, squeeze-excite, reactivation.

    ``merged`` layers write everything they read and the new features as one tensor; others write
    the updated outputs (if they reactivate) and the new features separately, so that later layers
    can fetch them one by one.
    """
    x = pen.concat("fetch", inputs)
    y = x
    if s.bottleneck:
        y = pen.learned_conv("reduce", x, s.bottleneck * s.growth_rate, s.learned, s.activation)
    y = pen.norm_act("conv", y, s.activation)
    new = pen.conv("conv", y, s.growth_rate, kernel=3, groups=s.groups_3x3)
    if s.se_reduction:
        new = pen.squeeze_excite("se", new, s.se_reduction)
    if s.sfr:
        x = pen.reactivate(x, new, s.sfr, s.activation)
    if merged:
        return (pen.concat("features", (x, new)),)
    updated = pen.split("updated", x, [v.channels for v in inputs]) if s.sfr else ()
    return (*updated, new)


@dataclass(frozen=True, kw_only=True)
class DenseStage:
    """Layers of one resolution, each of which adds ``growth_rate`` channels.

    Args:
        depth: Layers.
        growth_rate: Channels that each layer adds.
        bottleneck: Outputs of the 1x1 convolution per channel added; 0 leaves the 1x1 out.
        groups_1x1: Groups G of the learned 1x1 convolution (CondenseNet, section 3.1).
        condense_factor: C; each group keeps floor(inputs / C) inputs; 1 is a dense convolution.
        groups_3x3: Groups of the 3x3 convolution.
        sfr: Layers that reactivate earlier features: ``none``, ``all``, ``last-N``, ``every-N``
            (CondenseNetV2, section 3.1).
        sparse_factor: S; each group updates floor(features / S) features; 1 updates all.
        sfr_groups: Groups of the reactivation.
        sfr_kernel: Its kernel; larger than 1 is scored by the maximum of its absolute weights.
        sfr_order: ``pre`` (norm, activation, convolution: the authors' code) or ``post``
            (convolution, norm, activation: CondenseNetV2, section 3.1).
        fetch: ``dense`` or ``exponential`` (SparseNet, section 3).
        fetch_base: Base c of the exponential offsets.
        condense_block: Channels that learned layers keep or drop together: 1, 2, 4, 8, ...
        se_reduction: Squeeze-and-excitation after the 3x3: channels per hidden unit; 0 for none.
        activation: ``relu`` or ``hard_swish``.

    Raises:
        SpecError: a value breaks a rule; the message names it.
    """

    kind: ClassVar[str] = "dense"
    strides_itself: ClassVar[bool] = False
    """Whether the first layer sets the stage's resolution; before other stages a transition
    halves it."""

    depth: int
    growth_rate: int
    bottleneck: int = 4
    groups_1x1: int = 1
    condense_factor: int = 1
    groups_3x3: int = 1
    sfr: str = "none"
    sparse_factor: int = 1
    sfr_groups: int = 1
    sfr_kernel: int = 1
    sfr_order: str = "pre"
    fetch: str = "dense"
    fetch_base: int = 2
    condense_block: int = 1
    se_reduction: int = 0
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_whole(self, *_WHOLE)
        check_whole(self, "depth", most=MOST_LAYERS)
        check_whole(self, "bottleneck", "se_reduction", least=0)
        check_whole(self, "fetch_base", least=2)
        check_odd(self, "sfr_kernel")
        check_one_of(self, "fetch", FETCH_RULES)
        check_one_of(self, "sfr_order", SFR_ORDERS)
        check_one_of(self, "activation", ACTIVATIONS)
        inner = self.bottleneck * self.growth_rate
        check_divides(self.growth_rate, "`growth_rate`", self, "groups_3x3")
        if self.bottleneck:
            check_divides(inner, "`bottleneck` x `growth_rate`", self, "groups_3x3")
            check_divides(inner, "`bottleneck` x `growth_rate`", self, "groups_1x1")
        elif self.condense_factor > 1:
            raise SpecError(
                f"`condense_factor` (={self.condense_factor}) must be 1 where `bottleneck` is 0:"
                " there is no 1x1 convolution to condense"
            )
        elif self.groups_3x3 > 1:
            raise SpecError(
                f"`groups_3x3` (={self.groups_3x3}) must be 1 where `bottleneck` is 0: the 3x3"
                " then reads concatenated features, which have no fixed groups"
            )
        if sfr_layers(self.sfr, self.depth):
            check_divides(self.growth_rate, "`growth_rate`", self, "sfr_groups")
        check_hidden(self.se_reduction, self.growth_rate, "`growth_rate`")

    @property
    def reactivating_layers(self) -> frozenset[int]:
        """The layers (0-based) that reactivate something that is read after them."""
        return reactivating(self.sfr, self.depth, self.fetch, self.fetch_base)

    @property
    def learns(self) -> bool:
        """Whether anything here condenses."""
        return self.condense_factor > 1 or bool(self.sparse_factor > 1 and self.reactivating_layers)

    @property
    def summary(self) -> dict[str, int | str]:
        """What one line about a network says of a stage."""
        dense = self.fetch == "dense"
        return {
            "d": self.depth,
            "k": self.growth_rate,
            "G": self.groups_1x1,
            "C": self.condense_factor,
            "sfr": self.sfr,
            "fetch": self.fetch if dense else f"{self.fetch}-{self.fetch_base}",
        }

    @cached_property
    def layers_by_settings(self) -> tuple[tuple[LayerSettings, tuple[int, ...]], ...]:
        """What layers need to know of the stage, and which layers (0-based) share it."""
        plain = LayerSettings(
            self.growth_rate,
            self.bottleneck,
            Learned(self.groups_1x1, self.condense_factor, self.condense_block),
            self.groups_3x3,
            self.activation,
            self.se_reduction,
            None,
        )
        reactivating = self.reactivating_layers
        layers = range(self.depth)
        if not reactivating:
            return ((plain, tuple(layers)),)
        sfr = Reactivation(
            self.sfr_groups,
            self.sparse_factor,
            self.condense_block,
            self.sfr_kernel,
            self.sfr_order,
        )
        others = tuple([i for i in layers if i not in reactivating])
        with_sfr = (plain._replace(sfr=sfr), tuple(sorted(reactivating)))
        return ((plain, others), with_sfr) if others else (with_sfr,)

    @cached_property
    def layer_settings(self) -> tuple[LayerSettings, ...]:
        """One entry per layer: what it needs to know of the stage."""
        by_layer = {i: s for s, layers in self.layers_by_settings for i in layers}
        return tuple(by_layer[i] for i in range(self.depth))

    def write(self, planner: Planner, number: int, entries: Sequence[Any]) -> Sequence[Any]:
        """The layers of the stage; returns the outputs that whatever follows it fetches."""
        if self._reads_all:
            for layer, settings in enumerate(self.layer_settings, start=1):
                name = f"stage{number}_layer{layer}"
                entries = planner.step(name, dense_layer, entries, settings, True)
            return entries
        entries = list(entries)
        for layer, settings in enumerate(self.layer_settings, start=1):
            positions = fetched(len(entries), self.fetch, self.fetch_base)
            inputs = [entries[p] for p in positions]
            name = f"stage{number}_layer{layer}"
            *updated, new = planner.step(name, dense_layer, inputs, settings, False)
            for position, value in zip(positions, updated, strict=False):
                entries[position] = value
            entries.append(new)
        return [entries[p] for p in fetched(len(entries), self.fetch, self.fetch_base)]

    @property
    def _reads_all(self) -> bool:
        """Whether every layer reads everything, however that is written."""
        return plainest_fetch(self.depth, self.fetch, self.fetch_base)[0] == "dense"

    def canonical(self) -> DenseStage:
        """The same stage with every choice that has no effect at its plainest value."""
        return self._canonical

    @cached_property
    def _canonical(self) -> DenseStage:
        able = reactivating("all", self.depth, self.fetch, self.fetch_base)
        placement = plainest_sfr(self.reactivating_layers, self.depth, able)
        changes: dict[str, Any] = {"sfr": placement}
        if placement == "none":
            changes |= {"sparse_factor": 1, "sfr_groups": 1, "sfr_kernel": 1, "sfr_order": "pre"}
        elif self.sparse_factor == 1:
            changes["sfr_groups"] = 1
        if self.condense_factor == 1:
            changes["groups_1x1"] = 1
        if not self.learns:
            changes["condense_block"] = 1
        changes["fetch"], changes["fetch_base"] = plainest_fetch(
            self.depth, self.fetch, self.fetch_base
        )
        changes["se_reduction"] = plainest_reduction(self.se_reduction, self.growth_rate)
        return dataclasses.replace(self, **changes)


def plainest_sfr(layers: frozenset[int], depth: int, able: Iterable[int]) -> str:
    """The first of none, all, last-N, every-N by which ``layers`` reactivate, if only those that
    are ``able`` can."""
    able = frozenset(able)
    lasts = (f"last-{n}" for n in range(1, depth))
    nths = (f"every-{n}" for n in range(2, depth + 1))
    return next(
        placement
        for placement in ("none", "all", *lasts, *nths)
        if layers == sfr_layers(placement, depth) & able
    )


def plainest_reduction(reduction: int, channels: int) -> int:
    """The least squeeze-excite reduction with as many hidden units; 0 stays."""
    if not reduction:
        return 0
    hidden = channels // reduction
    return next(r for r in range(1, reduction + 1) if channels // r == hidden)
