"""Kernels as a runtime executes them: condensed layers as its lowering arranges them.

An exported file is not the plan: a reactivation becomes a dense convolution and a sum, a learned
convolution keeps its groups only where moving the channels costs less than multiplying by zeros.
The rules are those of :mod:`search_space.lowering`, told from numbers of channels alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from latency_models.kernels import Kernel
from latency_models.sketch import FOLDED_THROUGH, Noted, Row, Sketch, kernel
from search_space.gathering import GATHERING, Gathering
from search_space.plan import Learned, Planner, Reactivation, Shape, Writer

if TYPE_CHECKING:
    from search_space.spec import NetworkSpec


class _Linear(NamedTuple):
    """A 1x1 convolution that was noted last; average pooling behind it runs before it."""

    output: int
    start: int
    input: Noted
    note: Callable[[Noted], Noted]


class Lowered(Sketch):
    """Notes the kernels of a layer as a runtime's lowering leaves it."""

    __slots__ = ("_how", "_linear")

    def __init__(self, how: Gathering) -> None:
        super().__init__()
        self._how = how
        self._linear: _Linear | None = None

    def _noted(self, x: Noted, note: Callable[[Noted], Noted]) -> Noted:
        start = len(self._notes)
        y = note(x)
        self._linear = _Linear(y.id, start, x, note)
        return y

    def conv(
        self, name: str, x: Noted, channels: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> Noted:
        if 1 < groups < x.channels:
            groups = self._how.merged(x.channels, channels, groups)

        def note(x: Noted) -> Noted:
            return Sketch.conv(self, name, x, channels, kernel=kernel, stride=stride, groups=groups)

        return self._noted(x, note) if kernel == stride == 1 else note(x)

    def avg_pool(self, name: str, x: Noted, *, kernel: int, stride: int) -> Noted:
        before = self._linear
        if before is None or before.output != x.id or self._readers[x.id]:
            return super().avg_pool(name, x, kernel=kernel, stride=stride)
        del self._notes[before.start :]
        self._readers[before.input.id] -= 1
        return before.note(super().avg_pool(name, before.input, kernel=kernel, stride=stride))

    def learned(
        self, name: str, x: Noted, channels: int, how: Learned, kept: int, activation: str
    ) -> Noted:
        gathers = self._how.pays(x.channels, channels, how.groups, kept, how.block)

        def note(x: Noted) -> Noted:
            if not gathers:
                return Sketch.conv(self, name, x, channels, kernel=1)
            y = self.gather(x, how.groups * kept, how.block)
            y = Sketch.conv(self, name, y, channels, kernel=1, groups=how.groups)
            if self._how.shuffles or how.groups == 1:
                return self.shuffle(name, y, how.groups)
            # What follows it was folded into the convolution before the gather was made.
            return self._move("gather", y, *y[:2], (1, 1, 1, channels, ""), FOLDED_THROUGH)

        return self._noted(self.norm_act(name, x, activation), note)

    def sparse(self, x: Noted, new: Noted, how: Reactivation, kept: int, activation: str) -> Noted:
        y = self.norm_act("sfr", new, activation) if how.order == "pre" else new
        y = self.conv("sfr", y, x.channels, kernel=how.kernel)
        if how.order == "post":
            y = self.norm_act("sfr", y, activation)
        return self.sum("sfr_add", (x, y))

    def learned_linear(
        self, name: str, x: Noted, channels: int, factor: int, *, bias: bool, at_conversion: bool
    ) -> Noted:
        if self._how.dense_classifier:
            return self.linear(name, x, channels, bias=bias)
        settings: dict[str, Any] = {"bias": bias, "at_conversion": at_conversion}
        return super().learned_linear(name, x, channels, factor, **settings)


def pen(runtime: str) -> Sketch:
    """What notes kernels as a runtime executes them; as the condensed plan has them for a runtime
    that nothing is lowered for."""
    return Lowered(GATHERING[runtime]) if runtime in GATHERING else Sketch()


def sketch(
    runtime: str, writer: Writer, shapes: Sequence[Shape], settings: tuple[Any, ...]
) -> tuple[tuple[Row, ...], tuple[Shape, ...]]:
    """The kernels of what a writer writes, and the shapes of its outputs."""
    found = pen(runtime)
    outputs = writer(found, tuple([found.value(*shape) for shape in shapes]), *settings)
    rows = tuple(found.rows(outputs))
    return rows, tuple([Shape(v.channels, v.size) for v in outputs])


class _Listing(Planner):
    """Lists the kernels of every step."""

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime
        self.rows: list[Row] = []

    def _step(
        self, name: str, writer: Writer, inputs: Sequence[Shape], settings: tuple[Any, ...]
    ) -> tuple[Shape, ...]:
        rows, outputs = sketch(self.runtime, writer, inputs, settings)
        self.rows += rows
        return outputs


def executed_kernels(spec: NetworkSpec, runtime: str) -> Iterator[Kernel]:
    """Every kernel that a runtime executes of the condensed network, in order."""
    listing = _Listing(runtime)
    spec.write(listing, Shape(spec.image_channels, spec.image_size))
    return map(kernel, listing.rows)
