"""A network as a value: validated when made, compared by content, written as JSON or YAML.

Everything else (cost, latency, torch module) is a function of a :class:`NetworkSpec` alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml

from search_space.errors import SpecError
from search_space.fetch import fetched, updates_read
from search_space.plan import Form, LayerSettings, Plan, expand

ACTIVATIONS = ("relu", "hard_swish")
FETCH_RULES = ("dense", "exponential")
TRANSITIONS = ("pool", "conv")
FORMAT = 1
"""Version of the JSON and YAML form."""

S = TypeVar("S")


def check_whole(owner: object, *names: str, least: int = 1) -> None:
    """Raises SpecError unless the named fields of ``owner`` are whole numbers >= ``least``."""
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise SpecError(f"`{name}` (={value!r}) must be a whole number of at least {least}")


def _one_of(owner: object, name: str, known: tuple[str, ...]) -> None:
    value = getattr(owner, name)
    if value not in known:
        raise SpecError(f"`{name}` (={value!r}) must be one of {', '.join(known)}")


def _divides(owner: object, product: int, formula: str, divisor: str) -> None:
    value = getattr(owner, divisor)
    if product % value:
        raise SpecError(f"{formula} (={product}) must be divisible by `{divisor}` (={value})")


def sfr_layers(placement: str, depth: int) -> frozenset[int]:
    """The layers (0-based) of a stage of ``depth`` layers that reactivate.

    ``placement`` is ``none``, ``all``, ``last-N`` (the last N layers) or ``every-N`` (layers N,
    2N, ... counted from 1).

    Raises:
        SpecError: the placement is none of these.
    """
    kind, _, number = placement.partition("-") if isinstance(placement, str) else ("", "", "")
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
    raise SpecError(
        f"`sfr` (={placement!r}) must be none, all, last-N (the last N layers of the stage)"
        " or every-N (each Nth layer), with N at least 1"
    )


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """Layers of one resolution.

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
        fetch: ``dense`` or ``exponential`` (SparseNet, section 3).
        fetch_base: Base c of the exponential offsets.
        se_reduction: Squeeze-and-excitation after the 3x3: channels per hidden unit; 0 for none.
        activation: ``relu`` or ``hard_swish``.

    Raises:
        SpecError: a value breaks a rule; the message names it.
    """

    depth: int
    growth_rate: int
    bottleneck: int = 4
    groups_1x1: int = 1
    condense_factor: int = 1
    groups_3x3: int = 1
    sfr: str = "none"
    sparse_factor: int = 1
    sfr_groups: int = 1
    fetch: str = "dense"
    fetch_base: int = 2
    se_reduction: int = 0
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_whole(self, "depth", "growth_rate", "groups_1x1", "condense_factor", "groups_3x3")
        check_whole(self, "sparse_factor", "sfr_groups")
        check_whole(self, "bottleneck", "se_reduction", least=0)
        check_whole(self, "fetch_base", least=2)
        _one_of(self, "fetch", FETCH_RULES)
        _one_of(self, "activation", ACTIVATIONS)
        inner = self.bottleneck * self.growth_rate
        _divides(self, self.growth_rate, "`growth_rate`", "groups_3x3")
        if self.bottleneck:
            _divides(self, inner, "`bottleneck` x `growth_rate`", "groups_3x3")
            _divides(self, inner, "`bottleneck` x `growth_rate`", "groups_1x1")
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
            _divides(self, self.growth_rate, "`growth_rate`", "sfr_groups")
        if self.se_reduction > self.growth_rate:
            raise SpecError(
                f"`se_reduction` (={self.se_reduction}) must be at most `growth_rate`"
                f" (={self.growth_rate}): the hidden layer would be empty"
            )

    @property
    def reactivating_layers(self) -> frozenset[int]:
        """The layers (0-based) that reactivate something that is read after them."""
        read = updates_read(self.depth, self.fetch, self.fetch_base)
        return frozenset(i for i in sfr_layers(self.sfr, self.depth) if read[i])

    @cached_property
    def layer_settings(self) -> tuple[LayerSettings, ...]:
        """One entry per layer: what the plan needs to know of it."""
        reactivating = self.reactivating_layers
        shared = LayerSettings(
            growth_rate=self.growth_rate,
            bottleneck=self.bottleneck,
            groups_1x1=self.groups_1x1,
            condense_factor=self.condense_factor,
            groups_3x3=self.groups_3x3,
            activation=self.activation,
            se_reduction=self.se_reduction,
            reactivates=False,
            sparse_factor=self.sparse_factor,
            sfr_groups=self.sfr_groups,
        )
        with_sfr = shared._replace(reactivates=True)
        return tuple(with_sfr if i in reactivating else shared for i in range(self.depth))

    def canonical(self) -> StageSpec:
        """The same stage with every choice that has no effect at its plainest value."""
        changes: dict[str, Any] = {}
        changes["sfr"] = self._plainest_sfr()
        if changes["sfr"] == "none":
            changes |= {"sparse_factor": 1, "sfr_groups": 1}
        elif self.sparse_factor == 1:
            changes["sfr_groups"] = 1
        if self.condense_factor == 1:
            changes["groups_1x1"] = 1
        changes["fetch"], changes["fetch_base"] = self._plainest_fetch()
        if self.se_reduction:
            hidden = self.growth_rate // self.se_reduction
            changes["se_reduction"] = next(
                r for r in range(1, self.se_reduction + 1) if self.growth_rate // r == hidden
            )
        return dataclasses.replace(self, **changes)

    def _plainest_sfr(self) -> str:
        """The first of none, all, last-N, every-N with the same reactivating layers."""
        mine = self.reactivating_layers
        read = updates_read(self.depth, self.fetch, self.fetch_base)
        lasts = (f"last-{n}" for n in range(1, self.depth))
        nths = (f"every-{n}" for n in range(2, self.depth + 1))
        return next(
            placement
            for placement in ("none", "all", *lasts, *nths)
            if mine == {i for i in sfr_layers(placement, self.depth) if read[i]}
        )

    def _plainest_fetch(self) -> tuple[str, int]:
        """The first of dense, base 2, 3, ... that reads the same outputs at every layer."""

        def reads(rule: str, base: int) -> list[tuple[int, ...]]:
            return [fetched(n, rule, base) for n in range(1, self.depth + 2)]

        if self.fetch == "dense":
            return "dense", 2
        mine = reads(self.fetch, self.fetch_base)
        if mine == reads("dense", 2):
            return "dense", 2
        same = (b for b in range(2, self.fetch_base) if reads("exponential", b) == mine)
        return "exponential", next(same, self.fetch_base)


@dataclass(frozen=True, kw_only=True)
class StemSpec:
    """The first convolution: ``channels`` outputs, no norm after it."""

    channels: int
    kernel: int = 3
    stride: int = 1

    def __post_init__(self) -> None:
        check_whole(self, "channels", "kernel", "stride")
        if self.kernel % 2 == 0:
            raise SpecError(f"`kernel` (={self.kernel}) must be odd")


@dataclass(frozen=True, kw_only=True)
class TransitionSpec:
    """Between stages: 2x2 average ``pool`` alone (every channel survives, CondenseNet, section
    3.2) or ``conv``: norm, ReLU, 1x1 convolution to ``compression`` of the channels, pool."""

    kind: str = "pool"
    compression: float = 1.0

    def __post_init__(self) -> None:
        _one_of(self, "kind", TRANSITIONS)
        number = isinstance(self.compression, int | float)
        if not number or isinstance(self.compression, bool) or not 0 < self.compression <= 1:
            raise SpecError(f"`compression` (={self.compression!r}) must be in (0, 1]")
        if self.kind == "pool" and self.compression != 1:
            raise SpecError(
                f"`compression` (={self.compression}) must be 1 where `kind` is pool; use conv"
            )
        object.__setattr__(self, "compression", float(self.compression))


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """After the last stage: norm, ReLU, global pooling, then the classifier.

    Args:
        se_reduction: Squeeze-and-excitation on the pooled features; 0 for none.
        features: Width of a hidden linear layer before the classifier; 0 for none.
        activation: What follows the hidden layer.
        condense_factor: The classifier keeps floor(inputs / condense_factor) inputs
            (CondenseNet, section 4.2: 2 on ImageNet).
    """

    se_reduction: int = 0
    features: int = 0
    activation: str = "hard_swish"
    condense_factor: int = 1

    def __post_init__(self) -> None:
        check_whole(self, "se_reduction", "features", least=0)
        check_whole(self, "condense_factor")
        _one_of(self, "activation", ACTIVATIONS)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A whole network.

    Args:
        image_size: Height and width of the input in pixels.
        classes: Outputs of the classifier.
        stem: The first convolution.
        stages: One to many; the resolution halves between them.
        transition: What halves it.
        head: What follows the last stage.
        image_channels: Channels of the input.

    Raises:
        SpecError: a value breaks a rule, or a layer cannot exist as described.
    """

    image_size: int
    classes: int
    stem: StemSpec
    stages: tuple[StageSpec, ...]
    transition: TransitionSpec = field(default_factory=TransitionSpec)
    head: HeadSpec = field(default_factory=HeadSpec)
    image_channels: int = 3

    def __post_init__(self) -> None:
        check_whole(self, "image_size", "classes", "image_channels")
        if not isinstance(self.stages, list | tuple) or not self.stages:
            raise SpecError("`stages` must hold at least one stage")
        object.__setattr__(self, "stages", tuple(self.stages))
        parts: list[tuple[str, object, type]] = [
            (f"stage {i}", s, StageSpec) for i, s in enumerate(self.stages, start=1)
        ]
        parts += [
            ("`stem`", self.stem, StemSpec),
            ("`transition`", self.transition, TransitionSpec),
            ("`head`", self.head, HeadSpec),
        ]
        for name, part, kind in parts:
            if not isinstance(part, kind):
                raise SpecError(f"{name} (={part!r:.60}) must be a {kind.__name__}")
        self.plan("condensed")

    def plan(self, form: Form) -> Plan:
        """The list of operations in ``masked`` or ``condensed`` form."""
        if form not in self._plans:
            self._plans[form] = expand(self, form)
        return self._plans[form]

    @cached_property
    def _plans(self) -> dict[Form, Plan]:
        return {}

    @cached_property
    def id(self) -> str:
        """Twelve hex digits that equal networks share, however they were written down."""
        text = json.dumps(self.canonical().to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """The network in one line: depths, growth rates and what differs between stages."""
        shown: dict[str, list[int | str]] = {
            "d": [s.depth for s in self.stages],
            "k": [s.growth_rate for s in self.stages],
            "G": [s.groups_1x1 for s in self.stages],
            "C": [s.condense_factor for s in self.stages],
            "sfr": [s.sfr for s in self.stages],
            "fetch": [
                s.fetch if s.fetch == "dense" else f"{s.fetch}-{s.fetch_base}" for s in self.stages
            ],
        }
        return (
            f"{self.id} ("
            + ", ".join(
                f"{name} {'/'.join(map(str, values))}"
                if len(set(values)) > 1
                else f"{name} {values[0]}"
                for name, values in shown.items()
            )
            + ")"
        )

    def canonical(self) -> NetworkSpec:
        """The same network with every choice that has no effect at its plainest value."""
        return dataclasses.replace(
            self,
            stages=tuple(stage.canonical() for stage in self.stages),
            transition=self.transition if len(self.stages) > 1 else TransitionSpec(),
            head=self.head
            if self.head.features
            else dataclasses.replace(self.head, activation=HeadSpec.activation),
        )

    def replace(self, **changes: Any) -> NetworkSpec:
        """A copy with some fields changed, validated anew."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, with the format's version."""
        data = dataclasses.asdict(self)
        data["stages"] = list(data["stages"])
        return {"format": FORMAT, **data}

    @classmethod
    def from_dict(cls, data: object) -> NetworkSpec:
        """The inverse of :meth:`to_dict`.

        Raises:
            SpecError: a field is missing, unknown or wrong; the message names it.
        """
        fields = dict(_mapping(data, "a network"))
        version = fields.pop("format", FORMAT)
        if type(version) is not int or version != FORMAT:
            raise SpecError(f"`format` (={version!r}) must be {FORMAT}, the version read here")
        stages = fields.get("stages")
        if not isinstance(stages, list | tuple):
            raise SpecError(f"`stages` (={stages!r}) must be a list of stages")
        fields["stages"] = tuple(
            _parse(StageSpec, stage, f"stage {i}") for i, stage in enumerate(stages, start=1)
        )
        parts: dict[str, type] = {"stem": StemSpec, "transition": TransitionSpec, "head": HeadSpec}
        for name, part in parts.items():
            if name in fields:
                fields[name] = _parse(part, fields[name], f"`{name}`")
        return _parse(cls, fields, "the network")

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> NetworkSpec:
        """The inverse of :meth:`to_json`; raises SpecError."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"not JSON: {error}") from None
        return cls.from_dict(data)

    def to_yaml(self) -> str:
        """The form that people read and edit."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str) -> NetworkSpec:
        """The inverse of :meth:`to_yaml`; raises SpecError."""
        try:
            data = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise SpecError(f"not YAML: {' '.join(str(error).split())}") from None
        return cls.from_dict(data)

    @classmethod
    def load(cls, path: Path) -> NetworkSpec:
        """Reads a ``.json``, ``.yaml`` or ``.yml`` file; raises SpecError naming the file."""
        try:
            text = path.read_text(encoding="utf-8")
            return cls.from_json(text) if path.suffix == ".json" else cls.from_yaml(text)
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: cannot be read: {error}") from None
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from None


def _mapping(data: object, what: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise SpecError(f"{what} must be a mapping of field names to values, not {data!r:.60}")
    return data


def _parse(kind: type[S], data: object, what: str) -> S:
    """An instance of a spec class out of a mapping; errors say where in the network they are."""
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = _mapping(data, what)
    for name in values:
        if name not in fields:
            raise SpecError(f"{what} has no field `{name}`; its fields: {', '.join(fields)}")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise SpecError(f"{what} lacks the field `{name}`")
    try:
        return kind(**values)
    except SpecError as error:
        raise SpecError(f"{what}: {error}" if kind is not NetworkSpec else str(error)) from None
