"""From a network description to the explicit list of its operations, without torch.

A *plan* is a list of steps; a step is a named *fragment* (a dense layer, a transition, ...) with
the values it reads and writes. Cost, latency kernels, stage table and torch module all derive
from it, in one of two forms:

``masked``
    as trained: learned layers are dense convolutions under a mask;
``condensed``
    as deployed: gather, grouped convolution, index-add.

Both forms of a layer are written side by side here and nowhere else. Fragments are cached by
their settings, so that pricing a million networks expands each distinct layer once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from search_space import ops
from search_space.errors import SpecError
from search_space.fetch import fetched
from search_space.ops import Op, Value

if TYPE_CHECKING:
    from search_space.spec import HeadSpec, NetworkSpec, StageSpec, TransitionSpec

Form = Literal["masked", "condensed"]
FRAGMENT_CACHE_SIZE = 200_000


@dataclass(frozen=True, eq=False)
class Fragment:
    """Operations that always occur together. Compared by identity: the cache makes them unique."""

    ops: tuple[Op, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A fragment at its place in the network."""

    name: str
    fragment: Fragment
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole network as a list of steps in the order of execution."""

    form: Form
    input: Value
    steps: tuple[Step, ...]

    @property
    def output(self) -> str:
        """Name of the value that holds the logits."""
        return self.steps[-1].outputs[0]

    @property
    def ops(self) -> Iterator[Op]:
        """Every operation in the order of execution."""
        return (op for step in self.steps for op in step.fragment.ops)

    def last_reader(self) -> dict[str, int]:
        """For each value the position of the last step that reads it."""
        return {name: i for i, step in enumerate(self.steps) for name in step.inputs}


class Trace:
    """Writes operations down; each method returns the value that its operation writes."""

    def __init__(self, form: Form, channels: tuple[int, ...], size: int) -> None:
        self.form = form
        self.inputs = tuple(Value(f"in{i}", c, size) for i, c in enumerate(channels))
        self._ops: list[Op] = []

    def add(
        self,
        op: type[Op],
        name: str,
        inputs: tuple[Value, ...],
        /,
        channels: int | None = None,
        size: int | None = None,
        **settings: Any,
    ) -> Value:
        """One operation with one output, of its first input's shape unless told otherwise."""
        x = inputs[0]
        channels = x.channels if channels is None else channels
        output = Value(name, channels, x.size if size is None else size)
        self._ops.append(op(name=name, inputs=inputs, outputs=(output,), **settings))
        return output

    def conv(
        self, name: str, x: Value, channels: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> Value:
        size = (x.size - 1) // stride + 1
        return self.add(
            ops.Conv, name, (x,), channels, size, kernel=kernel, stride=stride, groups=groups
        )

    def norm_act(self, name: str, x: Value, kind: str) -> Value:
        x = self.add(ops.Norm, f"{name}_norm", (x,))
        return self.add(ops.Activation, f"{name}_act", (x,), kind=kind)

    def concat(self, name: str, values: tuple[Value, ...]) -> Value:
        if len(values) == 1:
            return values[0]
        return self.add(ops.Concat, name, values, sum(v.channels for v in values))

    def split(self, name: str, x: Value, like: tuple[Value, ...]) -> tuple[Value, ...]:
        if len(like) == 1:
            return (x,)
        outputs = tuple(Value(f"{name}{i}", v.channels, v.size) for i, v in enumerate(like))
        self._ops.append(ops.Split(name=name, inputs=(x,), outputs=outputs))
        return outputs

    def fragment(self, *outputs: Value) -> Fragment:
        return Fragment(tuple(self._ops), self.inputs, outputs)


class LayerSettings(NamedTuple):
    """What one dense layer needs to know of its stage; hashable, the key of the fragment cache."""

    growth_rate: int
    bottleneck: int
    groups_1x1: int
    condense_factor: int
    groups_3x3: int
    activation: str
    se_reduction: int
    reactivates: bool
    sparse_factor: int
    sfr_groups: int


def learned_conv(t: Trace, x: Value, s: LayerSettings, channels: int) -> Value:
    """Norm, activation and learned group convolution 1x1 (CondenseNet, section 3.1)."""
    if s.condense_factor == 1:
        return t.conv("reduce", t.norm_act("reduce", x, s.activation), channels, kernel=1)
    kept = x.channels // s.condense_factor
    if kept == 0:
        raise SpecError(
            f"`condense_factor` (={s.condense_factor}) must be at most the inputs of the layer"
            f" (={x.channels}): each group keeps floor(inputs / condense_factor) of them;"
            " lower it or widen what the layer reads"
        )
    if t.form == "masked":
        y = t.norm_act("reduce", x, s.activation)
        return t.add(
            ops.LearnedConv,
            "reduce",
            (y,),
            channels,
            kernel=1,
            groups=s.groups_1x1,
            condense_factor=s.condense_factor,
        )
    y = t.add(ops.Gather, "reduce_gather", (x,), s.groups_1x1 * kept)
    y = t.norm_act("reduce", y, s.activation)
    y = t.conv("reduce", y, channels, kernel=1, groups=s.groups_1x1)
    return shuffle(t, "reduce_shuffle", y, s.groups_1x1)


def reactivate(t: Trace, x: Value, new: Value, s: LayerSettings) -> Value:
    """``x`` with the increments that the new features give it (CondenseNetV2, section 3.1)."""
    y = t.norm_act("sfr", new, s.activation)
    if s.sparse_factor == 1:
        y = t.conv("sfr", y, x.channels, kernel=1)
        return t.add(ops.Add, "sfr_add", (x, y))
    kept = x.channels // s.sparse_factor
    if kept == 0:
        raise SpecError(
            f"`sparse_factor` (={s.sparse_factor}) must be at most the features that the layer"
            f" updates (={x.channels}): each group updates floor(features / sparse_factor) of"
            " them; lower it or widen what the layer reads"
        )
    if t.form == "masked":
        y = t.add(
            ops.LearnedReactivation,
            "sfr",
            (y,),
            x.channels,
            kernel=1,
            groups=s.sfr_groups,
            sparse_factor=s.sparse_factor,
        )
        return t.add(ops.Add, "sfr_add", (x, y))
    y = shuffle(t, "sfr_shuffle", y, new.channels // s.sfr_groups)
    y = t.conv("sfr", y, s.sfr_groups * kept, kernel=1, groups=s.sfr_groups)
    return t.add(ops.IndexAdd, "sfr_add", (x, y))


def shuffle(t: Trace, name: str, x: Value, groups: int) -> Value:
    """A channel shuffle, or nothing where it would be the identity."""
    if groups in (1, x.channels):
        return x
    return t.add(ops.Shuffle, name, (x,), groups=groups)


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def dense_layer(
    form: Form, channels: tuple[int, ...], size: int, s: LayerSettings, merged: bool
) -> Fragment:
    """One layer: 1x1 (unless ``bottleneck`` is 0), 3x3, squeeze-excite, reactivation.

    ``channels`` are those of the outputs it fetches. ``merged`` layers write everything they read
    and the new features as one tensor; others write the updated outputs (if they reactivate) and
    the new features separately, so that later layers can fetch them one by one.
    """
    t = Trace(form, channels, size)
    x = t.concat("fetch", t.inputs)
    y = learned_conv(t, x, s, s.bottleneck * s.growth_rate) if s.bottleneck else x
    y = t.norm_act("conv", y, s.activation)
    new = t.conv("conv", y, s.growth_rate, kernel=3, groups=s.groups_3x3)
    if s.se_reduction:
        new = t.add(ops.SqueezeExcite, "se", (new,), reduction=s.se_reduction)
    if s.reactivates:
        x = reactivate(t, x, new, s)
    if merged:
        return t.fragment(t.concat("features", (x, new)))
    updated = t.split("updated", x, t.inputs) if s.reactivates else ()
    return t.fragment(*updated, new)


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def stem(form: Form, channels: int, size: int, width: int, kernel: int, stride: int) -> Fragment:
    """One bare convolution, as CondenseNet and SparseNet begin."""
    t = Trace(form, (channels,), size)
    return t.fragment(t.conv("conv", t.inputs[0], width, kernel=kernel, stride=stride))


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def transition(form: Form, channels: tuple[int, ...], size: int, spec: TransitionSpec) -> Fragment:
    """Halves the resolution: pooling alone, or norm, ReLU, 1x1 convolution and pooling."""
    t = Trace(form, channels, size)
    x = t.concat("fetch", t.inputs)
    if spec.kind == "conv":
        x = t.norm_act("reduce", x, "relu")
        # The small term keeps 100 * 0.29 = 28.999... at 29.
        channels_out = int(x.channels * spec.compression + 1e-6)
        if channels_out == 0:
            raise SpecError(
                f"`compression` (={spec.compression}) leaves none of {x.channels} channels in a"
                " transition; raise it"
            )
        x = t.conv("reduce", x, channels_out, kernel=1)
    return t.fragment(t.add(ops.AvgPool, "pool", (x,), size=x.size // 2, kernel=2))


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def head(
    form: Form, channels: tuple[int, ...], size: int, spec: HeadSpec, classes: int
) -> Fragment:
    """Norm, ReLU, global pooling, squeeze-excite, hidden layer, classifier."""
    t = Trace(form, channels, size)
    x = t.norm_act("final", t.concat("fetch", t.inputs), "relu")
    x = t.add(ops.GlobalPool, "pool", (x,), size=1)
    if spec.se_reduction > x.channels:
        raise SpecError(
            f"`se_reduction` (={spec.se_reduction}) of the head must be at most its channels"
            f" (={x.channels}): the hidden layer would be empty"
        )
    if spec.se_reduction:
        x = t.add(ops.SqueezeExcite, "se", (x,), reduction=spec.se_reduction)
    if spec.features:
        x = t.add(ops.Linear, "features", (x,), spec.features)
        x = t.add(ops.Activation, "features_act", (x,), kind=spec.activation)
    return t.fragment(classifier(t, x, spec.condense_factor, classes))


def classifier(t: Trace, x: Value, condense_factor: int, classes: int) -> Value:
    """The last linear layer, condensed as one group (CondenseNet, section 4.2)."""
    if condense_factor == 1:
        return t.add(ops.Linear, "classifier", (x,), classes)
    if condense_factor > x.channels:
        raise SpecError(
            f"`condense_factor` (={condense_factor}) of the head must be at most the inputs of"
            f" the classifier (={x.channels}): it keeps floor(inputs / condense_factor) of them"
        )
    if t.form == "masked":
        return t.add(
            ops.LearnedLinear, "classifier", (x,), classes, condense_factor=condense_factor
        )
    x = t.add(ops.Gather, "classifier_gather", (x,), x.channels // condense_factor)
    return t.add(ops.Linear, "classifier", (x,), classes)


class _Planner:
    """Strings fragments together; keeps the shapes of the values between them."""

    def __init__(self, form: Form, source: Value) -> None:
        self.form = form
        self.source = source
        self.steps: list[Step] = []

    def add(self, name: str, fragment: Fragment, inputs: list[Value]) -> list[Value]:
        several = len(fragment.outputs) > 1
        outputs = [
            Value(f"{name}:{i}" if several else name, v.channels, v.size)
            for i, v in enumerate(fragment.outputs)
        ]
        self.steps.append(
            Step(
                name=name,
                fragment=fragment,
                inputs=tuple(v.name for v in inputs),
                outputs=tuple(v.name for v in outputs),
            )
        )
        return outputs

    def stage(self, number: int, spec: StageSpec, entries: list[Value]) -> list[Value]:
        """The layers of a stage; returns the outputs that whatever follows it fetches."""
        merged = spec.fetch == "dense"
        size = entries[0].size
        for layer in range(spec.depth):
            positions = (0,) if merged else fetched(len(entries), spec.fetch, spec.fetch_base)
            inputs = [entries[p] for p in positions]
            try:
                fragment = dense_layer(
                    self.form,
                    tuple(v.channels for v in inputs),
                    size,
                    spec.layer_settings[layer],
                    merged,
                )
            except SpecError as error:
                raise SpecError(f"stage {number}, layer {layer + 1}: {error}") from None
            *updated, new = self.add(f"stage{number}_layer{layer + 1}", fragment, inputs)
            if merged:
                entries = [new]
                continue
            for position, value in zip(positions, updated, strict=False):
                entries[position] = value
            entries.append(new)
        if merged:
            return entries
        return [entries[p] for p in fetched(len(entries), spec.fetch, spec.fetch_base)]


def expand(spec: NetworkSpec, form: Form) -> Plan:
    """The plan of a network in one of its two forms.

    Raises:
        SpecError: a layer cannot exist as described (too few channels to condense, no pixels
            left); the message names stage and layer.
    """
    source = Value("image", spec.image_channels, spec.image_size)
    p = _Planner(form, source)
    first = stem(
        form, source.channels, source.size, spec.stem.channels, spec.stem.kernel, spec.stem.stride
    )
    entries = p.add("stem", first, [source])
    for number, stage in enumerate(spec.stages, start=1):
        if number > 1:
            size = entries[0].size
            if size < 2:
                raise SpecError(
                    f"`image_size` (={spec.image_size}) leaves {size}x{size} pixels before stage"
                    f" {number}, too few to halve; raise it or use fewer stages"
                )
            channels = tuple(v.channels for v in entries)
            halving = transition(form, channels, size, spec.transition)
            entries = p.add(f"transition{number - 1}", halving, entries)
        entries = p.stage(number, stage, entries)
    channels = tuple(v.channels for v in entries)
    last = head(form, channels, entries[0].size, spec.head, spec.classes)
    p.add("head", last, entries)
    return Plan(form=form, input=source, steps=tuple(p.steps))
