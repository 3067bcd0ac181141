"""Kernels of a network without its operations: thousands of networks a second.

A :class:`Sketch` is handed to the writers of the layers in place of the pen that writes operations
down, and notes what is to be said of the kernels that :func:`latency_models.kernels.kernels` would
make of them: the kernels themselves, or their prices. A test holds one against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from latency_models.kernels import Kernel, conv_kind, squeeze_excite
from search_space.plan import FRAGMENT_CACHE_SIZE, Learned, Pen, Reactivation

T = TypeVar("T")
_NOTHING, _ACT, _NORM = range(3)
"""What a writer takes in of what follows it: nothing, an activation, a norm as well."""
_FOLDS_NORM, _FOLDS_NORM_ACT, _FOLDS_ACT, PASSES_ON = range(4)
"""How a kernel depends on what writes its input: it is folded into that, or hands on what that
takes in."""


class Noted:
    """A value: its shape, how often it is read, what its writer takes in of what follows."""

    readers = 0
    takes = _NOTHING

    def __init__(self, channels: int, size: int) -> None:
        self.channels = channels
        self.size = size


class Notebook(Generic[T]):
    """What is said of a kernel, found out once for each.

    Args:
        say: Says it.
    """

    def __init__(self, say: Callable[[Kernel], T]) -> None:
        self._say = say
        self._known: dict[tuple[Any, ...], T] = {}
        self._several: dict[tuple[Any, ...], tuple[T, ...]] = {}

    def of(self, kernel: Callable[..., Kernel], key: tuple[Any, ...]) -> T:
        """What is said of the kernel that a function makes of a key, which no other kernel has."""
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= FRAGMENT_CACHE_SIZE:
                self._known.clear()
            found = self._known[key] = self._say(kernel(*key))
        return found

    def of_all(self, kernels: Callable[..., Iterable[Kernel]], *settings: int) -> tuple[T, ...]:
        """What is said of several kernels that always stand together."""
        found = self._several.get(settings)
        if found is None:
            found = self._several[settings] = tuple(map(self._say, kernels(*settings)))
        return found


class Sketch(Pen, Generic[T]):
    """Notes what :class:`search_space.plan.Trace` would write in condensed form.

    Attributes:
        said: Of every kernel so far, in order; None where one was folded into another.
    """

    __slots__ = ("_folding", "_of", "_of_all", "said")

    def __init__(self, notebook: Notebook[T]) -> None:
        self.said: list[T | None] = []
        self._of = notebook.of
        self._of_all = notebook.of_all
        # Kernels that may fold: their positions, how, what they read and write.
        self._folding: list[tuple[int, int, Noted, Noted, tuple[Any, ...]]] = []

    def finish(self, outputs: Sequence[Noted]) -> list[T]:
        """What is said of every kernel, after what folds has been folded."""
        for value in outputs:
            value.readers += 1
        for position, how, x, y, key in self._folding:
            if x.readers == 1:
                if how == PASSES_ON:
                    y.takes = x.takes
                elif x.takes == _NORM or (how == _FOLDS_ACT and x.takes):
                    continue
            self.said[position] = self._of(_moved, key)
        return [said for said in self.said if said is not None]

    def _move(self, kind: str, x: Noted, channels: int, size: int, *settings: Any) -> Noted:
        """One input, one output; ``settings`` are the fields of the kernel from ``kernel`` on."""
        x.readers += 1
        self.said.append(self._of(_moved, (kind, x.channels, x.size, channels, size, *settings)))
        return Noted(channels, size)

    def _folds(self, how: int, kind: str, x: Noted, *settings: Any) -> Noted:
        """A kernel that keeps the shape of what it reads, and may fold."""
        x.readers += 1
        channels, size = x.channels, x.size
        y = Noted(channels, size)
        key = (kind, channels, size, channels, size, *settings)
        self._folding.append((len(self.said), how, x, y, key))
        self.said.append(None)
        return y

    def conv(
        self, name: str, x: Noted, channels: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> Noted:
        return self._conv(x, channels, kernel, stride, groups)

    def _conv(
        self, x: Noted, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> Noted:
        x.readers += 1
        size = x.size
        key = (x.channels, size, channels, kernel, stride, groups)
        self.said.append(self._of(_convolution, key))
        y = Noted(channels, (size - 1) // stride + 1)
        y.takes = _NORM
        return y

    def norm(self, name: str, x: Noted) -> Noted:
        y = self._folds(_FOLDS_NORM, "elementwise", x, 1, 1, 1, 1, "norm")
        y.takes = _ACT
        return y

    def act(self, name: str, x: Noted, kind: str) -> Noted:
        return self._folds(_FOLDS_ACT, "elementwise", x, 1, 1, 1, 1, kind)

    def norm_act(self, name: str, x: Noted, kind: str) -> Noted:
        # One kernel for two: nobody else reads what is between them.
        return self._folds(_FOLDS_NORM_ACT, "elementwise", x, 1, 1, 1, 1, "norm")

    def _forget_from(self, position: int) -> None:
        """Takes back the last kernels."""
        del self.said[position:]
        self._folding = [note for note in self._folding if note[0] < position]

    def gather(self, x: Noted, channels: int, block: int = 1) -> Noted:
        return self._move("gather", x, channels, x.size, 1, 1, 1, channels // block, "")

    def learned(
        self, name: str, x: Noted, channels: int, how: Learned, kept: int, activation: str
    ) -> Noted:
        y = self.gather(x, how.groups * kept, how.block)
        y = self.norm_act(name, y, activation)
        y = self.conv(name, y, channels, kernel=1, groups=how.groups)
        return self.shuffle(name, y, how.groups)

    def sparse(self, x: Noted, new: Noted, how: Reactivation, kept: int, activation: str) -> Noted:
        y = self.norm_act("sfr", new, activation) if how.order == "pre" else new
        y = self.shuffle("sfr", y, new.channels // how.groups)
        updates = how.groups * kept
        y = self.conv("sfr", y, updates, kernel=how.kernel, groups=how.groups)
        parts = updates // how.block
        if how.order == "pre":
            return self._join("index_add", (x, y), x.channels, x.channels, parts)
        y = self._move("index_add", y, x.channels, x.size, 1, 1, 1, parts, "")
        return self.sum("sfr_add", (x, self.norm_act("sfr", y, activation)))

    def squeeze_excite(self, name: str, x: Noted, reduction: int, *, normed: bool = False) -> Noted:
        x.readers += 1
        self.said += self._of_all(squeeze_excite, x.channels, x.size, x.channels // reduction)
        return Noted(x.channels, x.size)

    def shuffle(self, name: str, x: Noted, groups: int) -> Noted:
        if groups in (1, x.channels):
            return x
        return self._folds(PASSES_ON, "shuffle", x, 1, 1, groups, 1, "")

    def _join(
        self, kind: str, values: Sequence[Noted], inputs: int, channels: int, parts: int = 1
    ) -> Noted:
        size = values[0].size
        read = 0
        for value in values:
            value.readers += 1
            read += value.channels
        self.said.append(self._of(_joined, (kind, inputs, size, channels, read, parts)))
        return Noted(channels, size)

    def concat(self, name: str, values: Sequence[Noted]) -> Noted:
        if len(values) == 1:
            return values[0]
        channels = sum([v.channels for v in values])
        return self._join("concat", values, channels, channels, len(values))

    def split(self, name: str, x: Noted, channels: Sequence[int]) -> tuple[Noted, ...]:
        if len(channels) == 1:
            return (x,)
        self._move("split", x, x.channels, x.size, 1, 1, 1, len(channels), "")
        return tuple([Noted(c, x.size) for c in channels])

    def sum(self, name: str, values: Sequence[Noted]) -> Noted:
        if len(values) == 1:
            return values[0]
        return self._join("binary", values, values[0].channels, values[0].channels)

    def avg_pool(self, name: str, x: Noted, *, kernel: int, stride: int) -> Noted:
        size = (x.size - kernel) // stride + 1
        return self._move("pool", x, x.channels, size, kernel, stride, 1, 1, "avg")

    def max_pool(self, name: str, x: Noted, *, kernel: int, stride: int) -> Noted:
        size = (x.size - 1) // stride + 1
        return self._move("pool", x, x.channels, size, kernel, stride, 1, 1, "max")

    def global_pool(self, name: str, x: Noted) -> Noted:
        return self._move("global_pool", x, x.channels, 1, 1, 1, 1, 1, "")

    def flatten(self, name: str, x: Noted) -> Noted:
        x.readers += 1
        return Noted(x.channels * x.size * x.size, 1)

    def linear(self, name: str, x: Noted, channels: int, *, bias: bool) -> Noted:
        x.readers += 1
        self.said.append(self._of(_linear, (x.channels, channels, bias)))
        y = Noted(channels, 1)
        y.takes = _ACT
        return y

    def learned_linear(
        self, name: str, x: Noted, channels: int, factor: int, *, bias: bool, at_conversion: bool
    ) -> Noted:
        return self.linear(name, self.gather(x, x.channels // factor), channels, bias=bias)


# --- The kernels ----------------------------------------------------------------------------------


def _convolution(
    inputs: int, before: int, channels: int, kernel: int, stride: int, groups: int
) -> Kernel:
    size = (before - 1) // stride + 1
    weights = channels * (inputs // groups) * kernel * kernel
    return Kernel(
        kind=conv_kind(
            inputs=inputs, outputs=channels, kernel=kernel, groups=groups, out_size=size
        ),
        in_channels=inputs,
        out_channels=channels,
        in_elements=inputs * before * before,
        out_elements=channels * size * size,
        macs=weights * size * size,
        weights=weights,
        kernel=kernel,
        stride=stride,
        groups=groups,
    )


def _moved(kind: Any, inputs: int, before: int, channels: int, size: int, *settings: Any) -> Kernel:
    kernel, stride, groups, parts, function = settings
    return Kernel(
        kind=kind,
        in_channels=inputs,
        out_channels=channels,
        in_elements=inputs * before * before,
        out_elements=channels * size * size,
        kernel=kernel,
        stride=stride,
        groups=groups,
        parts=parts,
        function=function,
    )


def _joined(kind: Any, inputs: int, size: int, channels: int, read: int, parts: int) -> Kernel:
    return Kernel(
        kind=kind,
        in_channels=inputs,
        out_channels=channels,
        in_elements=read * size * size,
        out_elements=channels * size * size,
        parts=parts,
    )


def _linear(inputs: int, channels: int, bias: bool) -> Kernel:
    macs = inputs * channels
    return Kernel(
        kind="linear",
        in_channels=inputs,
        out_channels=channels,
        in_elements=inputs,
        out_elements=channels,
        macs=macs,
        weights=macs + channels * bias,
    )
