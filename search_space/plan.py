"""From a network description to the explicit list of its operations, without torch.

A *plan* is a list of steps; a step is a named *fragment* (a dense layer, a transition, ...) with
the values it reads and writes. Latency kernels, stage table and torch module all derive from it,
in one of two forms:

``masked``
    as trained: learned layers are dense convolutions under a mask;
``condensed``
    as deployed: gather, grouped convolution, index-add.

What a network is made of is written once: a block writes its layers with the methods of a
:class:`Pen`. :class:`Trace` is the pen that writes operations down, in either form;
:class:`search_space.meter.Meter` is the pen that only counts.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from search_space import ops
from search_space.errors import SpecError
from search_space.ops import Op, Value, kept_channels

if TYPE_CHECKING:
    from search_space.blocks import Stage
    from search_space.spec import NetworkSpec

Form = Literal["masked", "condensed"]
FRAGMENT_CACHE_SIZE = 200_000


class Shape(NamedTuple):
    """A tensor of shape ``(N, channels, size, size)``; a vector has size 1."""

    channels: int
    size: int


V = TypeVar("V", Shape, Value)
"""What a pen passes around: named values when it writes, shapes when it counts."""

Writer = Callable[..., tuple[Any, ...]]
"""Writes a step: ``writer(pen, inputs, *settings)`` returns its outputs."""


class Learned(NamedTuple):
    """How a learned 1x1 convolution condenses: groups G, factor C, block of channels."""

    groups: int = 1
    factor: int = 1
    block: int = 1


class Reactivation(NamedTuple):
    """How new features update old ones (CondenseNetV2, section 3.1).

    ``order`` is ``pre`` (norm, activation, convolution: the authors' code) or ``post``
    (convolution, norm, activation: their paper).
    """

    groups: int
    factor: int
    block: int = 1
    kernel: int = 1
    order: str = "pre"


class Pen(ABC):
    """What a block writes its layers with; each method returns the value that it writes."""

    __slots__ = ()

    @abstractmethod
    def conv(
        self, name: str, x: Any, channels: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> Any:
        """A convolution without bias, padded so that stride 1 keeps the size."""

    @abstractmethod
    def norm(self, name: str, x: Any) -> Any:
        """A batch norm."""

    @abstractmethod
    def act(self, name: str, x: Any, kind: str) -> Any:
        """An activation."""

    def norm_act(self, name: str, x: Any, kind: str) -> Any:
        """A batch norm and an activation."""
        return self.act(f"{name}_act", self.norm(f"{name}_norm", x), kind)

    @abstractmethod
    def learned(
        self, name: str, x: Any, channels: int, how: Learned, kept: int, activation: str
    ) -> Any:
        """Norm, activation and a learned 1x1 convolution whose groups keep ``kept`` inputs."""

    def learned_conv(self, name: str, x: Any, channels: int, how: Learned, activation: str) -> Any:
        """Norm, activation and learned group convolution 1x1 (CondenseNet, section 3.1)."""
        if how.factor == 1:
            return self.conv(name, self.norm_act(name, x, activation), channels, kernel=1)
        kept = kept_channels(x.channels, how.factor, how.block)
        if not kept or x.channels % how.block:
            raise _cannot_condense("condense_factor", "inputs of the layer", "keeps", x, how)
        return self.learned(name, x, channels, how, kept, activation)

    @abstractmethod
    def sparse(self, x: Any, new: Any, how: Reactivation, kept: int, activation: str) -> Any:
        """A reactivation whose groups update ``kept`` features."""

    def reactivate(self, x: Any, new: Any, how: Reactivation, activation: str) -> Any:
        """``x`` with the increments that the new features give it (CondenseNetV2, 3.1)."""
        if how.factor > 1:
            kept = kept_channels(x.channels, how.factor, how.block)
            if not kept or x.channels % how.block:
                what = "features that it updates"
                raise _cannot_condense("sparse_factor", what, "updates", x, how)
            return self.sparse(x, new, how, kept, activation)
        if how.order == "pre":
            y = self.norm_act("sfr", new, activation)
            y = self.conv("sfr", y, x.channels, kernel=how.kernel)
        else:
            y = self.conv("sfr", new, x.channels, kernel=how.kernel)
            y = self.norm_act("sfr", y, activation)
        return self.sum("sfr_add", (x, y))

    @abstractmethod
    def squeeze_excite(self, name: str, x: Any, reduction: int, *, normed: bool = False) -> Any:
        """Channel attention; ``normed`` as in ShuffleNetV2+."""

    @abstractmethod
    def shuffle(self, name: str, x: Any, groups: int) -> Any:
        """A channel shuffle, or nothing where it would be the identity."""

    @abstractmethod
    def concat(self, name: str, values: Sequence[Any]) -> Any:
        """One value of several."""

    @abstractmethod
    def split(self, name: str, x: Any, channels: Sequence[int]) -> tuple[Any, ...]:
        """Several values of one."""

    @abstractmethod
    def sum(self, name: str, values: Sequence[Any]) -> Any:
        """The sum of equal shapes."""

    @abstractmethod
    def avg_pool(self, name: str, x: Any, *, kernel: int, stride: int) -> Any:
        """Average pooling without padding."""

    @abstractmethod
    def max_pool(self, name: str, x: Any, *, kernel: int, stride: int) -> Any:
        """Maximum pooling, padded as a convolution is."""

    @abstractmethod
    def global_pool(self, name: str, x: Any) -> Any:
        """The mean over all positions."""

    @abstractmethod
    def flatten(self, name: str, x: Any) -> Any:
        """A map as one vector."""

    @abstractmethod
    def linear(self, name: str, x: Any, channels: int, *, bias: bool) -> Any:
        """A fully connected layer."""

    @abstractmethod
    def learned_linear(
        self, name: str, x: Any, channels: int, factor: int, *, bias: bool, at_conversion: bool
    ) -> Any:
        """A classifier that is condensed as one group (CondenseNet, section 4.2)."""


def _cannot_condense(
    name: str, what: str, verb: str, x: Any, how: Learned | Reactivation
) -> SpecError:
    if x.channels % how.block:
        return SpecError(
            f"`condense_block` (={how.block}) must divide the {what} (={x.channels}), which are"
            " kept or dropped in blocks; lower it or change the growth rates or the stem"
        )
    return SpecError(
        f"`{name}` (={how.factor}) must be at most the {what} (={x.channels})"
        + (f" in blocks of {how.block}" if how.block > 1 else "")
        + f": each group {verb} floor({what.split()[0]} / {name}) of them;"
        " lower it or widen what the layer reads"
    )


# --- The pen that writes operations down ----------------------------------------------------


@dataclass(frozen=True, eq=False)
class Fragment:
    """Operations that always occur together. Compared by identity: the cache makes them unique."""

    ops: tuple[Op, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


class Trace(Pen):
    """Writes operations down in one of the two forms.

    Both forms of a learned layer stand side by side here and nowhere else. The operations that a
    learned layer ``x`` becomes are named ``x_gather``, ``x_norm``, ``x``, ``x_shuffle``, and
    ``x_add`` or ``x_scatter``: conversion finds them by these names.
    """

    def __init__(self, form: Form, shapes: Sequence[Shape]) -> None:
        self.form = form
        self.inputs = tuple(Value(f"in{i}", *shape) for i, shape in enumerate(shapes))
        self.ops: list[Op] = []

    def add(
        self,
        op: type[Op],
        name: str,
        inputs: Sequence[Value],
        /,
        channels: int | None = None,
        size: int | None = None,
        **settings: Any,
    ) -> Value:
        """One operation with one output, of its first input's shape unless told otherwise."""
        x = inputs[0]
        channels = x.channels if channels is None else channels
        output = Value(name, channels, x.size if size is None else size)
        self.ops.append(op(name=name, inputs=tuple(inputs), outputs=(output,), **settings))
        return output

    def conv(
        self, name: str, x: Value, channels: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> Value:
        size = (x.size - 1) // stride + 1
        return self.add(
            ops.Conv, name, (x,), channels, size, kernel=kernel, stride=stride, groups=groups
        )

    def norm(self, name: str, x: Value) -> Value:
        return self.add(ops.Norm, name, (x,))

    def act(self, name: str, x: Value, kind: str) -> Value:
        return self.add(ops.Activation, name, (x,), kind=kind)

    def learned(
        self, name: str, x: Value, channels: int, how: Learned, kept: int, activation: str
    ) -> Value:
        if self.form == "masked":
            y = self.norm_act(name, x, activation)
            return self.add(
                ops.LearnedConv,
                name,
                (y,),
                channels,
                kernel=1,
                groups=how.groups,
                condense_factor=how.factor,
                block=how.block,
            )
        y = self.add(ops.Gather, f"{name}_gather", (x,), how.groups * kept, block=how.block)
        y = self.norm_act(name, y, activation)
        y = self.conv(name, y, channels, kernel=1, groups=how.groups)
        return self.shuffle(f"{name}_shuffle", y, how.groups)

    def sparse(self, x: Value, new: Value, how: Reactivation, kept: int, activation: str) -> Value:
        y = self.norm_act("sfr", new, activation) if how.order == "pre" else new
        if self.form == "masked":
            y = self.add(
                ops.LearnedReactivation,
                "sfr",
                (y,),
                x.channels,
                kernel=how.kernel,
                groups=how.groups,
                sparse_factor=how.factor,
                block=how.block,
            )
        else:
            updates = how.groups * kept
            y = self.shuffle("sfr_shuffle", y, new.channels // how.groups)
            y = self.conv("sfr", y, updates, kernel=how.kernel, groups=how.groups)
            if how.order == "pre":
                return self.add(ops.IndexAdd, "sfr_add", (x, y), block=how.block)
            y = self.add(ops.Scatter, "sfr_scatter", (y,), x.channels, block=how.block)
        if how.order == "post":
            y = self.norm_act("sfr", y, activation)
        return self.sum("sfr_add", (x, y))

    def squeeze_excite(self, name: str, x: Value, reduction: int, *, normed: bool = False) -> Value:
        return self.add(ops.SqueezeExcite, name, (x,), reduction=reduction, normed=normed)

    def shuffle(self, name: str, x: Value, groups: int) -> Value:
        if groups in (1, x.channels):
            return x
        return self.add(ops.Shuffle, name, (x,), groups=groups)

    def concat(self, name: str, values: Sequence[Value]) -> Value:
        if len(values) == 1:
            return values[0]
        return self.add(ops.Concat, name, values, sum(v.channels for v in values))

    def split(self, name: str, x: Value, channels: Sequence[int]) -> tuple[Value, ...]:
        if len(channels) == 1:
            return (x,)
        outputs = tuple(Value(f"{name}{i}", c, x.size) for i, c in enumerate(channels))
        self.ops.append(ops.Split(name=name, inputs=(x,), outputs=outputs))
        return outputs

    def sum(self, name: str, values: Sequence[Value]) -> Value:
        return values[0] if len(values) == 1 else self.add(ops.Add, name, values)

    def avg_pool(self, name: str, x: Value, *, kernel: int, stride: int) -> Value:
        size = (x.size - kernel) // stride + 1
        return self.add(ops.AvgPool, name, (x,), size=size, kernel=kernel, stride=stride)

    def max_pool(self, name: str, x: Value, *, kernel: int, stride: int) -> Value:
        size = (x.size - 1) // stride + 1
        return self.add(ops.MaxPool, name, (x,), size=size, kernel=kernel, stride=stride)

    def global_pool(self, name: str, x: Value) -> Value:
        return self.add(ops.GlobalPool, name, (x,), size=1)

    def flatten(self, name: str, x: Value) -> Value:
        return self.add(ops.Flatten, name, (x,), x.elements, 1)

    def linear(self, name: str, x: Value, channels: int, *, bias: bool) -> Value:
        return self.add(ops.Linear, name, (x,), channels, bias=bias)

    def learned_linear(
        self, name: str, x: Value, channels: int, factor: int, *, bias: bool, at_conversion: bool
    ) -> Value:
        if self.form == "masked":
            return self.add(
                ops.LearnedLinear,
                name,
                (x,),
                channels,
                condense_factor=factor,
                bias=bias,
                at_conversion=at_conversion,
            )
        x = self.add(ops.Gather, f"{name}_gather", (x,), x.channels // factor)
        return self.linear(name, x, channels, bias=bias)


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def fragment(
    form: Form, writer: Writer, shapes: tuple[Shape, ...], settings: tuple[Any, ...]
) -> Fragment:
    """What a writer writes; each distinct one is expanded once."""
    trace = Trace(form, shapes)
    outputs = writer(trace, trace.inputs, *settings)
    return Fragment(tuple(trace.ops), trace.inputs, outputs)


# --- The network as a list of steps ---------------------------------------------------------


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


class Planner(ABC):
    """Walks through a network step by step; what it makes of a step is its own affair."""

    def step(
        self, name: str, writer: Writer, inputs: Sequence[Any], *settings: Any
    ) -> tuple[Any, ...]:
        """One step of the network; returns what it writes.

        Raises:
            SpecError: the layer cannot exist as described; the message says where it is.
        """
        try:
            return self._step(name, writer, inputs, settings)
        except SpecError as error:
            raise SpecError(f"{place(name)}: {error}") from None

    def stage(self, number: int, stage: Stage, entries: Sequence[Any]) -> Sequence[Any]:
        """The layers of a stage; returns what whatever follows it reads."""
        return stage.write(self, number, entries)

    @abstractmethod
    def _step(
        self, name: str, writer: Writer, inputs: Sequence[Any], settings: tuple[Any, ...]
    ) -> tuple[Any, ...]: ...


class _Recorder(Planner):
    """Makes the list of steps."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.steps: list[Step] = []

    def _step(
        self, name: str, writer: Writer, inputs: Sequence[Value], settings: tuple[Any, ...]
    ) -> tuple[Value, ...]:
        shapes = tuple(Shape(v.channels, v.size) for v in inputs)
        with_ops = fragment(self.form, writer, shapes, settings)
        several = len(with_ops.outputs) > 1
        outputs = tuple(
            Value(f"{name}:{i}" if several else name, v.channels, v.size)
            for i, v in enumerate(with_ops.outputs)
        )
        self.steps.append(
            Step(
                name=name,
                fragment=with_ops,
                inputs=tuple(v.name for v in inputs),
                outputs=tuple(v.name for v in outputs),
            )
        )
        return outputs


def expand(spec: NetworkSpec, form: Form) -> Plan:
    """The plan of a network in one of its two forms."""
    recorder = _Recorder(form)
    source = Value("image", spec.image_channels, spec.image_size)
    spec.write(recorder, source)
    return Plan(form=form, input=source, steps=tuple(recorder.steps))


def place(step_name: str) -> str:
    """Where in the network a step is, in words: ``stage 2, layer 3``."""
    words = re.sub(r"([a-z])([0-9])", r"\1 \2", step_name)
    return words.replace("_", ", ")


def part(step_name: str) -> str:
    """The stem, stage, transition or head that a step is of: ``stage2`` of ``stage2_layer3``."""
    return step_name.partition("_")[0]


def stage_of(step_name: str) -> int:
    """The number of the stage that a step or part is of; 0 for others."""
    number = part(step_name).removeprefix("stage")
    return int(number) if number.isdecimal() else 0
