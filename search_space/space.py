"""What may vary: the set of networks that a search proposes from.

A :class:`SearchSpace` is a list of named dimensions, each with its choices, and two functions:
``decode`` makes a network of one choice per dimension, ``encode`` finds the choices of a network.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from search_space.dense_block import DenseStage, reactivating, sfr_layers
from search_space.errors import SpecError, UnknownName, shown
from search_space.parts import HeadSpec, StemSpec, TransitionSpec
from search_space.reading import read_yaml
from search_space.rules import MOST, MOST_LAYERS, check_odd, check_whole
from search_space.spec import NetworkSpec, canonical_parts

Choice = int | str
Choices = dict[str, Choice]
"""One choice per dimension, by the dimension's name."""

DENSE = "dense"
POOL = "pool"
MOST_CHOICES = 256
"""Of a dimension: admission tries them one by one."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One thing that varies. ``ordered`` choices are numbers whose neighbours are alike."""

    name: str
    choices: tuple[Choice, ...]
    ordered: bool


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """A family of networks.

    ``depths`` and ``growth_rates`` hold one tuple of choices per stage, all other fields one
    tuple for all stages or for the network. Per stage vary depth, growth rate, groups (G of the
    1x1, the 3x3 and the reactivation), condense factor C, sparse factor S, SFR placement and
    fetch rule (``dense`` or ``exponential-c``); per network the stride of the stem, the transition
    (``pool`` or ``conv-0.5``), the block of channels that learned layers keep or drop together, the
    head and from which stage (1-based, 0 for nowhere) squeeze-excite and hard-swish are used.

    Groups that do not divide a stage's growth rate give way to the largest choice below that
    does; so do blocks that do not divide what a stage reads. What is left of combinations that
    are no network (a layer would have fewer features to read than it condenses by) is refused by
    ``decode``.

    Raises:
        SpecError: a field has no choices, twice the same, or one that cannot be; or the numbers
            of stages differ.
    """

    name: str
    image_size: int
    classes: int
    stem_strides: tuple[int, ...]
    depths: tuple[tuple[int, ...], ...]
    growth_rates: tuple[tuple[int, ...], ...]
    stem_kernel: int = 3
    groups: tuple[int, ...] = (1, 2, 4, 6, 8)
    condense_factors: tuple[int, ...] = (1, 2, 4, 6, 8)
    sparse_factors: tuple[int, ...] = (1, 2, 4, 6, 8)
    sfr: tuple[str, ...] = ("none", "all", "last-1", "last-2", "last-4", "every-2", "every-3")
    fetches: tuple[str, ...] = (DENSE, "exponential-2", "exponential-3", "exponential-4")
    transitions: tuple[str, ...] = (POOL, "conv-0.5")
    blocks: tuple[int, ...] = (1, 2, 4, 8)
    head_features: tuple[int, ...] = (0,)
    classifier_condense_factors: tuple[int, ...] = (1,)
    se_from_stages: tuple[int, ...] = (0,)
    hard_swish_from_stages: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        check_whole(self, "image_size", "classes")
        check_odd(self, "stem_kernel")
        if not isinstance(self.name, str) or not self.name:
            raise SpecError(f"`name` (={shown(self.name)}) must be a text")
        for field in ("depths", "growth_rates"):
            stages = getattr(self, field)
            if not isinstance(stages, list | tuple) or not stages:
                raise SpecError(f"`{field}` (={shown(stages)}) must be a list of choices per stage")
            rule = _at_least(1, MOST_LAYERS) if field == "depths" else _WHOLE
            checked = (_choices(f"{field}[{i}]", c, rule) for i, c in enumerate(stages))
            object.__setattr__(self, field, tuple(checked))
        for field, rule in _RULES.items():
            object.__setattr__(self, field, _choices(field, getattr(self, field), rule))
        if len(self.depths) != len(self.growth_rates):
            raise SpecError(
                f"`depths` (of {len(self.depths)} stages) and `growth_rates`"
                f" (of {len(self.growth_rates)}) must have the same number of stages"
            )

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Everything that has at least two choices."""
        return tuple(d for d in self._all_dimensions if len(d.choices) > 1)

    @cached_property
    def _fixed(self) -> Choices:
        """Everything that has one."""
        return {d.name: d.choices[0] for d in self._all_dimensions if len(d.choices) == 1}

    @cached_property
    def _all_dimensions(self) -> tuple[Dimension, ...]:
        rows: list[tuple[str, tuple[Choice, ...], bool]] = []
        for i, (depths, growth_rates) in enumerate(
            zip(self.depths, self.growth_rates, strict=True), start=1
        ):
            rows += [
                (f"stage{i}_depth", depths, True),
                (f"stage{i}_growth_rate", growth_rates, True),
                (f"stage{i}_groups", self.groups, True),
                (f"stage{i}_condense_factor", self.condense_factors, True),
                (f"stage{i}_sparse_factor", self.sparse_factors, True),
                (f"stage{i}_sfr", self.sfr, False),
                (f"stage{i}_fetch", self.fetches, False),
            ]
        rows += [
            ("stem_stride", self.stem_strides, True),
            ("transition", self.transitions, False),
            ("block", self.blocks, True),
            ("head_features", self.head_features, True),
            ("classifier_condense_factor", self.classifier_condense_factors, True),
            ("se_from_stage", self.se_from_stages, False),
            ("hard_swish_from_stage", self.hard_swish_from_stages, False),
        ]
        return tuple(
            Dimension(name=name, choices=choices, ordered=ordered)
            for name, choices, ordered in rows
        )

    @property
    def volume(self) -> int:
        """Combinations of choices (some describe the same network)."""
        return math.prod(len(d.choices) for d in self.dimensions)

    def decode(self, choices: Mapping[str, Choice]) -> NetworkSpec:
        """The network of one choice per dimension.

        Raises:
            SpecError: the combination is no network (a layer would have nothing to read).
        """
        return NetworkSpec(image_size=self.image_size, classes=self.classes, **self._parts(choices))

    def _parts(self, choices: Mapping[str, Choice]) -> dict[str, Any]:
        """Stem, stages, transition and head of a combination."""
        c: dict[str, Any] = self._fixed | dict(choices)
        stages = tuple(self._stage(i, c) for i in range(1, len(self.depths) + 1))
        kind, _, compression = c["transition"].partition("-")
        features = c["head_features"]
        return {
            "stem": StemSpec(
                channels=2 * stages[0].growth_rate,
                kernel=self.stem_kernel,
                stride=c["stem_stride"],
            ),
            "stages": stages,
            "transition": TransitionSpec(kind=kind, compression=float(compression or 1)),
            "head": HeadSpec(
                features=features,
                se_reduction=16 if features else 0,
                condense_factor=c["classifier_condense_factor"],
            ),
        }

    def _stage(self, number: int, c: Mapping[str, Any]) -> DenseStage:
        stage = f"stage{number}_"
        se_from, hs_from = c["se_from_stage"], c["hard_swish_from_stage"]
        return _dense_stage(
            c[stage + "depth"],
            c[stage + "growth_rate"],
            self._groups(c[stage + "growth_rate"], c[stage + "groups"]),
            c[stage + "condense_factor"],
            c[stage + "sfr"],
            c[stage + "sparse_factor"],
            c[stage + "fetch"],
            self._block(number, c),
            0 < se_from <= number,
            0 < hs_from <= number,
        )

    def _groups(self, growth_rate: int, wanted: int) -> int:
        """The largest choice, up to the one made, that divides the growth rate."""
        if growth_rate % wanted == 0:
            return wanted
        return max(g for g in (1, *self.groups) if g <= wanted and growth_rate % g == 0)

    def _block(self, number: int, c: Mapping[str, Any]) -> int:
        """The largest choice, up to the one made, that whatever the stage reads is made of, and
        that leaves as many blocks as learned layers condense by."""
        wanted: int = c["block"]
        if wanted == 1:
            return 1
        widths = [c[f"stage{i}_growth_rate"] for i in range(1, number + 1)]
        # The stem has twice the first growth rate; a transition may halve what it reads.
        halvings = 0 if c["transition"] == POOL else number - 1
        common = math.gcd(*widths) >> halvings
        narrowest = 2 * widths[0] if number == 1 else min(widths) >> halvings
        stage = f"stage{number}_"
        factor = c[stage + "condense_factor"]
        fetch, _, base = c[stage + "fetch"].partition("-")
        if reactivating(c[stage + "sfr"], c[stage + "depth"], fetch, int(base or 2)):
            factor = max(factor, c[stage + "sparse_factor"])
        fitting = (b for b in self.blocks if common % b == 0 and b * factor <= narrowest)
        return max((b for b in fitting if b <= wanted), default=1)

    def encode(self, spec: NetworkSpec) -> Choices:
        """The choices that give ``spec``: one way of writing each network of the space.

        Raises:
            SpecError: the network is not in the space; the message names a reason.
        """
        canonical = spec.canonical()
        if len(canonical.stages) != len(self.depths):
            raise SpecError(
                f"the network has {len(canonical.stages)} stages,"
                f" those of {self.name} have {len(self.depths)}"
            )
        stages = [stage for stage in canonical.stages if isinstance(stage, DenseStage)]
        if len(stages) < len(canonical.stages):
            kinds = ", ".join(stage.kind for stage in canonical.stages)
            raise SpecError(
                f"the network's stages are of the kinds {kinds}; those of {self.name} are all"
                f" {DenseStage.kind}"
            )
        found: Choices = {}
        for i, stage in enumerate(stages, start=1):
            found |= {
                f"stage{i}_depth": stage.depth,
                f"stage{i}_growth_rate": stage.growth_rate,
                f"stage{i}_groups": _least(self.groups, stage.groups_3x3),
                f"stage{i}_condense_factor": stage.condense_factor,
                f"stage{i}_sparse_factor": stage.sparse_factor,
                f"stage{i}_sfr": stage.sfr,
                f"stage{i}_fetch": DENSE
                if stage.fetch == DENSE
                else f"{stage.fetch}-{stage.fetch_base}",
            }
        t = canonical.transition
        found |= {
            "stem_stride": canonical.stem.stride,
            "transition": POOL if t.kind == POOL else f"{t.kind}-{t.compression:g}",
            "block": _least(self.blocks, max(s.condense_block for s in stages)),
            "head_features": canonical.head.features,
            "classifier_condense_factor": canonical.head.condense_factor,
            "se_from_stage": _first(s.se_reduction > 0 for s in stages),
            "hard_swish_from_stage": _first(s.activation != "relu" for s in stages),
        }
        choices = {d.name: found[d.name] for d in self.dimensions}
        for i, stage in enumerate(stages, start=1):
            choices |= self._rewritten(i, stage, choices)
        outside = [d.name for d in self.dimensions if choices[d.name] not in d.choices]
        if outside or not self._gives(choices, canonical):
            reason = f": `{outside[0]}` would be {choices[outside[0]]}" if outside else ""
            raise SpecError(f"the network {canonical.id} is not in the space {self.name}{reason}")
        return choices

    def _gives(self, choices: Choices, canonical: NetworkSpec) -> bool:
        """Whether choices describe a network, part by part: it need not be counted once more."""
        plain = canonical_parts(**self._parts(choices))
        return (canonical.image_size, canonical.classes, canonical.image_channels) == (
            self.image_size,
            self.classes,
            NetworkSpec.image_channels,
        ) and all(getattr(canonical, name) == part for name, part in plain.items())

    def _rewritten(self, number: int, stage: DenseStage, choices: Choices) -> Choices:
        """Another way of writing a stage where the plainest is not among the choices: any S where
        nothing reactivates, or every-4 of 5 layers for last-2 of which one has an effect."""
        names = [f"stage{number}_{part}" for part in ("sparse_factor", "sfr", "fetch")]
        dimensions = [d for d in self.dimensions if d.name in names]
        if all(choices[d.name] in d.choices for d in dimensions):
            return {}
        # What is among the choices stays, as a rule; there are hundreds of ways in all.
        near = [
            (choices[d.name],) if choices[d.name] in d.choices else d.choices for d in dimensions
        ]
        for ways in (near, [d.choices for d in dimensions]):
            for values in itertools.product(*ways):
                way = {d.name: value for d, value in zip(dimensions, values, strict=True)}
                if self._stage(number, self._fixed | choices | way).canonical() == stage:
                    return way
        return {}

    def __contains__(self, spec: object) -> bool:
        if not isinstance(spec, NetworkSpec):
            return False
        try:
            self.encode(spec)
        except SpecError:
            return False
        return True

    def sample(self, rng: np.random.Generator) -> Choices:
        """One choice per dimension, each with equal probability."""
        return {d.name: d.choices[rng.integers(len(d.choices))] for d in self.dimensions}

    def replace(self, **changes: Any) -> SearchSpace:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return data

    @classmethod
    def from_dict(cls, data: object) -> SearchSpace:
        """The inverse of :meth:`to_dict`; raises SpecError naming the field."""
        known = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(data, Mapping):
            raise SpecError("a search space must be a mapping of field names to choices")
        if "stem_stride" in data and "stem_strides" not in data:
            # Written before it could vary.
            data = {**data, "stem_strides": [data["stem_stride"]]}
            del data["stem_stride"]
        if unknown := set(data) - known:
            raise SpecError(
                f"a search space has no field `{min(map(str, unknown))}`;"
                f" its fields: {', '.join(sorted(known))}"
            )
        try:
            return cls(**data)
        except TypeError as error:
            raise SpecError(f"a search space must be complete: {error}") from None

    @classmethod
    def load(cls, path: Path) -> SearchSpace:
        """Reads a YAML file; raises SpecError naming the file."""
        data = read_yaml(path, SpecError)
        try:
            return cls.from_dict(data)
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from None


@lru_cache(maxsize=100_000)
def _dense_stage(
    depth: int,
    growth_rate: int,
    groups: int,
    condense_factor: int,
    sfr: str,
    sparse_factor: int,
    fetch: str,
    block: int,
    se: bool,
    hard_swish: bool,
) -> DenseStage:
    """A stage of a space's choices; a search makes the same ones over and over."""
    rule, _, base = fetch.partition("-")
    return DenseStage(
        depth=depth,
        growth_rate=growth_rate,
        groups_1x1=groups,
        condense_factor=condense_factor,
        groups_3x3=groups,
        sfr=sfr,
        sparse_factor=sparse_factor,
        sfr_groups=groups,
        fetch=rule,
        fetch_base=int(base or 2),
        condense_block=block,
        # Reduction 1 inside the layers, as in CondenseNetV2's code.
        se_reduction=int(se),
        activation="hard_swish" if hard_swish else "relu",
    )


Rule = tuple[str, Callable[[Any], bool]]
"""In words and as a test."""


def _at_least(least: int, most: int = MOST) -> Rule:
    words = f"whole numbers of at least {least}, at most {most:,}"
    return words, lambda c: type(c) is int and least <= c <= most


def _is_placement(choice: Any) -> bool:
    try:
        sfr_layers(choice, 1)
    except SpecError:
        return False
    return True


def _is_transition(choice: Any) -> bool:
    if type(choice) is not str or not re.fullmatch(r"pool|conv-[0-9.]+", choice):
        return False
    try:
        x = 1.0 if choice == POOL else float(choice.removeprefix("conv-"))
    except ValueError:
        return False
    return 0 < x <= 1 and choice in (POOL, f"conv-{x:g}")


def _is_fetch(choice: Any) -> bool:
    return type(choice) is str and (
        choice == DENSE or bool(re.fullmatch(r"exponential-([2-9]|[1-9][0-9]{1,3})", choice))
    )


_WHOLE = _at_least(1)
_RULES: dict[str, Rule] = {
    "stem_strides": _WHOLE,
    "groups": _WHOLE,
    "condense_factors": _WHOLE,
    "sparse_factors": _WHOLE,
    "sfr": ("none, all, last-N or every-N", _is_placement),
    "fetches": ("dense or exponential-C with C at least 2", _is_fetch),
    "blocks": _WHOLE,
    "transitions": ("pool or conv-X with X in (0, 1], such as conv-0.5", _is_transition),
    "head_features": _at_least(0),
    "classifier_condense_factors": _WHOLE,
    "se_from_stages": _at_least(0),
    "hard_swish_from_stages": _at_least(0),
}


def _choices(field: str, value: Any, rule: Rule) -> tuple[Choice, ...]:
    """``value`` as a tuple of different choices that keep a rule; raises SpecError."""
    words, keeps = rule
    if not isinstance(value, list | tuple) or not value:
        raise SpecError(f"`{field}` (={shown(value)}) must be a list of at least one choice")
    if len(value) > MOST_CHOICES:
        raise SpecError(f"`{field}` (of {len(value)} choices) must hold at most {MOST_CHOICES}")
    for choice in value:
        if not keeps(choice):
            raise SpecError(f"`{field}` (={shown(value)}) must hold {words}, not {shown(choice)}")
    if len(set(value)) < len(value):
        raise SpecError(f"`{field}` (={shown(value)}) must not hold a choice twice")
    # Numbers in their order: neighbours are alike, and the lowest is the cheapest as a rule.
    return tuple(sorted(value) if all(type(c) is int for c in value) else value)


def _least(choices: tuple[int, ...], value: int) -> int:
    """The least choice that gives way to ``value``: itself, or the least of all where none fits."""
    return next((choice for choice in choices if choice >= value), value)


def _first(flags: Any) -> int:
    """The 1-based position of the first true flag, 0 if there is none."""
    return next((i for i, flag in enumerate(flags, start=1) if flag), 0)


_CIFAR_DEPTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20)

SPACES: dict[str, SearchSpace] = {
    "imagenet-224": SearchSpace(
        name="imagenet-224",
        image_size=224,
        classes=1000,
        stem_strides=(2,),
        depths=(
            (1, 2, 3, 4),
            (1, 2, 3, 4, 6),
            (1, 2, 3, 4, 6, 8),
            (2, 4, 6, 8, 10, 12),
            (2, 4, 6, 8, 10, 12),
        ),
        growth_rates=(
            (4, 6, 8, 12, 16),
            (6, 8, 12, 16, 24),
            (8, 12, 16, 24, 32, 48),
            (16, 24, 32, 48, 64, 96),
            (32, 48, 64, 96, 128, 160),
        ),
        head_features=(0, 828, 1024, 1280),
        classifier_condense_factors=(1, 2),
        se_from_stages=(0, 4),
        hard_swish_from_stages=(0, 3),
    ),
    # What runs fast at the same multiply-adds (docs/speed.md): nothing at 112 x 112, few and wide
    # layers, widths that fill the registers.
    "imagenet-224-fast": SearchSpace(
        name="imagenet-224-fast",
        image_size=224,
        classes=1000,
        stem_strides=(4,),
        stem_kernel=5,
        depths=((1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 4, 6), (1, 2, 3, 4, 6)),
        growth_rates=((8, 16, 32), (16, 32, 48), (16, 32, 48, 64, 96), (32, 64, 96, 128, 160)),
        groups=(1, 2, 4, 8),
        condense_factors=(1, 2, 4, 8),
        sparse_factors=(1, 2, 4, 8),
        head_features=(0, 828, 1024, 1280),
        classifier_condense_factors=(1, 2),
        se_from_stages=(0, 3),
        hard_swish_from_stages=(0, 2),
    ),
    "cifar-32": SearchSpace(
        name="cifar-32",
        image_size=32,
        classes=10,
        stem_strides=(1,),
        depths=(_CIFAR_DEPTHS,) * 3,
        growth_rates=(
            (4, 6, 8, 12, 16, 24),
            (4, 6, 8, 12, 16, 24, 32),
            (8, 12, 16, 24, 32, 48, 64),
        ),
        se_from_stages=(0, 2, 3),
        hard_swish_from_stages=(0, 2, 3),
    ),
    # For a few million multiply-adds: few and wide layers. A stem of stride 2 leaves a quarter of
    # the pixels, and so room for four times the channels.
    "cifar-32-fast": SearchSpace(
        name="cifar-32-fast",
        image_size=32,
        classes=10,
        stem_strides=(1, 2),
        depths=((1, 2, 3, 4), (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6)),
        growth_rates=(
            (8, 12, 16, 24, 32),
            (16, 24, 32, 48, 64, 96),
            (32, 48, 64, 96, 128, 192),
        ),
        groups=(1, 2, 4, 8),
        condense_factors=(1, 2, 4, 8),
        sparse_factors=(1, 2, 4, 8),
        se_from_stages=(0, 1, 2, 3),
        hard_swish_from_stages=(0, 1, 2, 3),
    ),
}


def space(name: str) -> SearchSpace:
    """A search space by name, or from a ``.yaml`` file.

    Raises:
        UnknownName: neither; the message lists the known names.
        SpecError: the file does not describe a space.
    """
    if name in SPACES:
        return SPACES[name]
    if name.endswith((".yaml", ".yml")):
        return SearchSpace.load(Path(name))
    raise UnknownName("search space (or path of a .yaml file)", name, SPACES)
