"""A network as a value: validated when made, compared by content, written as JSON or YAML.

Everything else (cost, latency, torch module) is a function of a :class:`NetworkSpec` alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from search_space.blocks import BLOCKS, Stage
from search_space.dense_block import DenseStage
from search_space.digests import short_hash
from search_space.errors import SpecError, shown
from search_space.meter import Counts, count
from search_space.parts import HeadSpec, StemSpec, TransitionSpec, head, stem, transition
from search_space.plan import Form, Plan, Planner, expand
from search_space.reading import parse_json, parse_yaml
from search_space.rules import MOST_LAYERS, check_whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = 1
"""Version of the JSON and YAML form."""

S = TypeVar("S", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A whole network.

    Args:
        image_size: Height and width of the input in pixels.
        classes: Outputs of the classifier.
        stem: The first convolution.
        stages: One to many, of the kinds in ``BLOCKS``.
        transition: What halves the resolution before a stage of dense layers; others do so
            themselves.
        head: What follows the last stage.
        image_channels: Channels of the input.

    Raises:
        SpecError: a value breaks a rule, or a layer cannot exist as described.
    """

    image_size: int
    classes: int
    stem: StemSpec
    stages: tuple[Stage, ...]
    transition: TransitionSpec = field(default_factory=TransitionSpec)
    head: HeadSpec = field(default_factory=HeadSpec)
    image_channels: int = 3

    def __post_init__(self) -> None:
        check_whole(self, "image_size", "classes", "image_channels")
        if not isinstance(self.stages, list | tuple) or not self.stages:
            raise SpecError("`stages` must hold at least one stage")
        object.__setattr__(self, "stages", tuple(self.stages))
        kinds = tuple(BLOCKS.values())
        for i, stage in enumerate(self.stages, start=1):
            if not isinstance(stage, kinds):
                names = ", ".join(kind.__name__ for kind in kinds)
                raise SpecError(f"stage {i} (={shown(stage)}) must be one of {names}")
        layers = sum(stage.depth for stage in self.stages)
        if layers > MOST_LAYERS:
            raise SpecError(
                f"the depths of all stages (={layers}) must come to at most {MOST_LAYERS:,} layers"
            )
        for name, kind in PARTS.items():
            part = getattr(self, name)
            if not isinstance(part, kind):
                raise SpecError(f"`{name}` (={shown(part)}) must be a {kind.__name__}")
        # Counting visits every layer, so that what cannot exist is found here.
        _ = self.counts

    @cached_property
    def counts(self) -> Counts:
        """What :func:`search_space.cost.cost` sums up."""
        return count(self)

    def write(self, planner: Planner, image: Any) -> None:
        """The network, step by step.

        Raises:
            SpecError: a layer cannot exist as described (too few channels to condense, no pixels
                left); the message says where.
        """
        entries: Sequence[Any] = planner.step("stem", stem, (image,), self.stem)
        for number, stage in enumerate(self.stages, start=1):
            if number > 1 and not stage.strides_itself:
                size = entries[0].size
                if size < 2:
                    raise SpecError(
                        f"`image_size` (={self.image_size}) leaves {size}x{size} pixels before"
                        f" stage {number}, too few to halve; raise it or use fewer stages"
                    )
                name = f"transition{number - 1}"
                entries = planner.step(name, transition, entries, self.transition)
            entries = planner.stage(number, stage, entries)
        planner.step("head", head, entries, self.head, self.classes)

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
        text = json.dumps(_essence(self.canonical()), sort_keys=True)
        return short_hash([text.encode()])

    def __str__(self) -> str:
        """The network in one line: what its stages are and what differs between them."""
        shown: dict[str, list[int | str]] = {}
        for number, stage in enumerate(self.stages):
            for name, value in stage.summary.items():
                shown.setdefault(name, ["-"] * number).append(value)
            for values in shown.values():
                values.extend(["-"] * (number + 1 - len(values)))
        texts = (
            f"{name} {'/'.join(map(str, values)) if len(set(values)) > 1 else values[0]}"
            for name, values in shown.items()
        )
        return f"{self.id} ({', '.join(texts)})"

    def canonical(self) -> NetworkSpec:
        """The same network with every choice that has no effect at its plainest value."""
        return self._canonical

    @cached_property
    def _canonical(self) -> NetworkSpec:
        plainest = canonical_parts(self.stem, self.stages, self.transition, self.head)
        changes = {name: part for name, part in plainest.items() if part != getattr(self, name)}
        # Equal networks need not both be kept, nor both be counted.
        return self.replace(**changes) if changes else self

    def replace(self, **changes: Any) -> NetworkSpec:
        """A copy with some fields changed, validated anew."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, with the format's version."""
        data = dataclasses.asdict(self)
        data["stages"] = [
            {"block": stage.kind, **_plain(dataclasses.asdict(stage))} for stage in self.stages
        ]
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
            raise SpecError(f"`format` (={shown(version)}) must be {FORMAT}, the version read here")
        stages = fields.get("stages")
        if not isinstance(stages, list | tuple):
            raise SpecError(f"`stages` (={shown(stages)}) must be a list of stages")
        fields["stages"] = tuple(
            _parse_stage(stage, f"stage {i}") for i, stage in enumerate(stages, start=1)
        )
        for name, part in PARTS.items():
            if name in fields:
                fields[name] = _parse(part, fields[name], f"`{name}`")
        return _parse(cls, fields, "the network")

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> NetworkSpec:
        """The inverse of :meth:`to_json`; raises SpecError."""
        return cls.from_dict(parse_json(text, SpecError))

    def to_yaml(self) -> str:
        """The form that people read and edit."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str) -> NetworkSpec:
        """The inverse of :meth:`to_yaml`; raises SpecError."""
        return cls.from_dict(parse_yaml(text, SpecError))

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


PARTS: dict[str, type] = {"stem": StemSpec, "transition": TransitionSpec, "head": HeadSpec}
"""Fields of a network that are descriptions themselves."""


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, which is what JSON and YAML read back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def canonical_parts(
    stem: StemSpec, stages: Sequence[Stage], transition: TransitionSpec, head: HeadSpec
) -> dict[str, Any]:
    """The parts of a network with every choice that has no effect at its plainest value."""
    return {
        "stem": stem if stem.normed else dataclasses.replace(stem, activation=StemSpec.activation),
        "stages": tuple(stage.canonical() for stage in stages),
        "transition": TransitionSpec()
        if all(stage.strides_itself for stage in stages[1:])
        else transition,
        "head": head.canonical(),
    }


def _essence(part: Any) -> dict[str, Any]:
    """The fields of a description that differ from their defaults: what identifies it.

    A field that a later version adds does so with a default, and changes no network's id.
    """
    found: dict[str, Any] = {}
    for f in dataclasses.fields(part):
        value = getattr(part, f.name)
        if f.name == "stages":
            found["stages"] = [{"block": stage.kind, **_essence(stage)} for stage in value]
        elif f.name in PARTS:
            found[f.name] = _essence(value)
        elif value != f.default:
            found[f.name] = value
    return found


def _parse_stage(data: object, what: str) -> Stage:
    fields = dict(_mapping(data, what))
    kind = fields.pop("block", DenseStage.kind)
    if not isinstance(kind, str) or kind not in BLOCKS:
        raise SpecError(f"{what}: `block` (={shown(kind)}) must be one of {', '.join(BLOCKS)}")
    return _parse(BLOCKS[kind], fields, what)


def _mapping(data: object, what: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise SpecError(f"{what} must be a mapping of field names to values, not {shown(data)}")
    return data


def _parse(kind: type[S], data: object, what: str) -> S:
    """An instance of a spec class out of a mapping; errors say where in the network they are."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
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
