"""Kernels as a runtime executes them: condensed layers as its lowering arranges them.

An exported file is not the plan: a reactivation becomes a dense convolution and a sum, a learned
convolution keeps its groups only where moving the channels costs less than multiplying by zeros.
The rules are those of :mod:`search_space.lowering`, told from numbers of channels alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from latency_models.kernels import Kernel
from latency_models.sketch import PASSES_ON, Notebook, Noted, Sketch, T
from search_space.gathering import GATHERING, Gathering
from search_space.plan import FRAGMENT_CACHE_SIZE, Learned, Planner, Reactivation, Shape, Writer

if TYPE_CHECKING:
    from search_space.spec import NetworkSpec


_Linear = tuple[Noted, int, Noted, Callable[[Noted], Noted]]
"""A 1x1 convolution that was noted last: its output, where its kernels begin, its input, and how it
is noted; average pooling behind it runs before it."""


class Lowered(Sketch[T]):
    """Notes the kernels of a layer as a runtime's lowering leaves it."""

    __slots__ = ("_how", "_linear")

    def __init__(self, notebook: Notebook[T], how: Gathering) -> None:
        super().__init__(notebook)
        self._how = how
        self._linear: _Linear | None = None

    def _noted(self, x: Noted, note: Callable[[Noted], Noted]) -> Noted:
        start = len(self.said)
        y = note(x)
        self._linear = (y, start, x, note)
        return y

    def conv(
        self, name: str, x: Noted, channels: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> Noted:
        if 1 < groups < x.channels:
            groups = self._how.merged(x.channels, channels, groups)
        if kernel > 1 or stride > 1:
            return self._conv(x, channels, kernel, stride, groups)
        return self._noted(x, lambda x: self._conv(x, channels, groups=groups))

    def avg_pool(self, name: str, x: Noted, *, kernel: int, stride: int) -> Noted:
        if self._linear is None or self._linear[0] is not x or x.readers:
            return super().avg_pool(name, x, kernel=kernel, stride=stride)
        _, start, read, note = self._linear
        self._forget_from(start)
        read.readers -= 1
        return note(super().avg_pool(name, read, kernel=kernel, stride=stride))

    def learned(
        self, name: str, x: Noted, channels: int, how: Learned, kept: int, activation: str
    ) -> Noted:
        gathers = self._how.pays(x.channels, channels, how.groups, kept, how.block)

        def note(x: Noted) -> Noted:
            if not gathers:
                return self._conv(x, channels)
            y = self.gather(x, how.groups * kept, how.block)
            y = self._conv(y, channels, groups=how.groups)
            if self._how.shuffles or how.groups == 1:
                return self.shuffle(name, y, how.groups)
            # What follows it was folded into the convolution before the gather was made.
            return self._folds(PASSES_ON, "gather", y, 1, 1, 1, channels, "")

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


def pen(runtime: str, notebook: Notebook[T]) -> Sketch[T]:
    """What notes kernels as a runtime executes them; as the condensed plan has them for a runtime
    that nothing is lowered for."""
    return Lowered(notebook, GATHERING[runtime]) if runtime in GATHERING else Sketch(notebook)


_shape = lru_cache(maxsize=FRAGMENT_CACHE_SIZE)(Shape)
"""Shapes repeat by the thousand, and those who price steps keep them."""


def sketch(
    runtime: str,
    notebook: Notebook[T],
    writer: Writer,
    shapes: Sequence[Shape],
    settings: tuple[Any, ...],
) -> tuple[list[T], tuple[Shape, ...]]:
    """What is said of the kernels of what a writer writes, and the shapes of its outputs."""
    found = pen(runtime, notebook)
    outputs = writer(found, [Noted(*shape) for shape in shapes], *settings)
    return found.finish(outputs), tuple([_shape(v.channels, v.size) for v in outputs])


_THEMSELVES: Notebook[Kernel] = Notebook(lambda kernel: kernel)
"""Of each kernel it says the kernel."""


class _Listing(Planner):
    """Lists the kernels of every step."""

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime
        self.kernels: dict[str, list[Kernel]] = {}

    def _step(
        self, name: str, writer: Writer, inputs: Sequence[Shape], settings: tuple[Any, ...]
    ) -> tuple[Shape, ...]:
        kernels, outputs = sketch(self.runtime, _THEMSELVES, writer, inputs, settings)
        self.kernels[name] = kernels
        return outputs


def executed_by_step(spec: NetworkSpec, runtime: str) -> dict[str, list[Kernel]]:
    """Every kernel that a runtime executes of the condensed network, in order, by the step of the
    plan that it is of."""
    listing = _Listing(runtime)
    spec.write(listing, Shape(spec.image_channels, spec.image_size))
    return listing.kernels


def executed_kernels(spec: NetworkSpec, runtime: str) -> Sequence[Kernel]:
    """Every kernel that a runtime executes of the condensed network, in order."""
    return [k for kernels in executed_by_step(spec, runtime).values() for k in kernels]
