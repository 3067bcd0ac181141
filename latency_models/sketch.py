"""Kernels of a network without its operations: thousands of networks a second.

A :class:`Sketch` is handed to the writers of the layers in place of the pen that writes operations
down, and notes the fields of the kernels that :func:`latency_models.kernels.kernels` would make of
them. A test holds one against the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, NamedTuple

from latency_models.kernels import Kernel, conv_kind, squeeze_excite
from search_space.plan import Learned, Pen, Reactivation

Row = tuple[Any, ...]
"""The fields of a kernel in the order of ``Kernel``."""

_FIELDS = tuple(f.name for f in fields(Kernel))
MACS = _FIELDS.index("macs")
_CONV, _LINEAR, FOLDED_THROUGH, _NORM, _NORM_ACT, _ACT, _OTHER = range(7)


def kernel(row: Row) -> Kernel:
    """The kernel whose fields these are."""
    return Kernel(**dict(zip(_FIELDS, row, strict=True)))


_NORMED: Row = (1, 1, 1, 1, "norm")


@lru_cache(maxsize=4096)
def _excitation(channels: int, size: int, hidden: int) -> tuple[Row, ...]:
    found = squeeze_excite(channels, size, hidden)
    return tuple([tuple([getattr(kernel, name) for name in _FIELDS]) for kernel in found])


class Noted(NamedTuple):
    channels: int
    size: int
    id: int


class Sketch(Pen):
    """Notes what :class:`search_space.plan.Trace` would write in condensed form."""

    __slots__ = ("_notes", "_readers")

    def __init__(self) -> None:
        # What is noted, what it reads and writes (one that folds or is folded into), its row.
        self._notes: list[tuple[int, int, int, Row]] = []
        self._readers: list[int] = []

    def value(self, channels: int, size: int) -> Noted:
        """A new value."""
        readers = self._readers
        number = len(readers)
        readers.append(0)
        # What a named tuple's own constructor does, without its arguments' names.
        return tuple.__new__(Noted, (channels, size, number))

    def rows(self, outputs: Sequence[Noted]) -> Iterator[Row]:
        """The kernels, with norms and activations folded as :func:`kernels` does."""
        readers = self._readers
        for value in outputs:
            readers[value.id] += 1
        takes_norm: set[int] = set()
        takes_act: set[int] = set()
        for what, read, written, row in self._notes:
            if what == _OTHER:
                yield row
                continue
            alone = readers[read] == 1
            if what == _CONV:
                takes_norm.add(written)
                takes_act.add(written)
            elif what == _LINEAR:
                takes_act.add(written)
            elif what == FOLDED_THROUGH:
                for taking in (takes_norm, takes_act):
                    if alone and read in taking:
                        taking.add(written)
            elif what == _NORM:
                takes_act.add(written)
                if alone and read in takes_norm:
                    continue
            elif what == _NORM_ACT:
                if alone and read in takes_norm:
                    continue
            elif alone and read in takes_act:
                continue
            yield row

    def _move(
        self,
        kind: str,
        x: Noted,
        channels: int,
        size: int,
        settings: Row = (1, 1, 1, 1, ""),
        what: int = _OTHER,
    ) -> Noted:
        """One input, one output; ``settings`` are the fields from ``kernel`` on."""
        inputs, before, number = x
        y = self.value(channels, size)
        self._readers[number] += 1
        elements = (inputs * before * before, channels * size * size)
        row = (kind, inputs, channels, *elements, 0, 0, *settings)
        self._notes.append((what, number, y.id, row))
        return y

    def conv(
        self, name: str, x: Noted, channels: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> Noted:
        inputs, before, read = x
        size = (before - 1) // stride + 1
        y = self.value(channels, size)
        self._readers[read] += 1
        weights = channels * (inputs // groups) * kernel * kernel
        area = size * size
        kind = conv_kind(
            inputs=inputs, outputs=channels, kernel=kernel, groups=groups, out_size=size
        )
        elements = (inputs * before * before, channels * area)
        row = (kind, inputs, channels, *elements, weights * area, weights, kernel, stride, groups)
        self._notes.append((_CONV, read, y.id, (*row, 1, "")))
        return y

    def norm(self, name: str, x: Noted) -> Noted:
        return self._move("elementwise", x, *x[:2], _NORMED, _NORM)

    def act(self, name: str, x: Noted, kind: str) -> Noted:
        return self._move("elementwise", x, *x[:2], (1, 1, 1, 1, kind), _ACT)

    def norm_act(self, name: str, x: Noted, kind: str) -> Noted:
        # One note for two: nobody else reads what is between them.
        return self._move("elementwise", x, *x[:2], _NORMED, _NORM_ACT)

    def gather(self, x: Noted, channels: int, block: int = 1) -> Noted:
        return self._move("gather", x, channels, x.size, (1, 1, 1, channels // block, ""))

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
        y = self._move("index_add", y, x.channels, x.size, (1, 1, 1, parts, ""))
        return self.sum("sfr_add", (x, self.norm_act("sfr", y, activation)))

    def squeeze_excite(self, name: str, x: Noted, reduction: int, *, normed: bool = False) -> Noted:
        y = self.value(x.channels, x.size)
        self._readers[x.id] += 1
        for row in _excitation(x.channels, x.size, x.channels // reduction):
            self._notes.append((_OTHER, x.id, y.id, row))
        return y

    def shuffle(self, name: str, x: Noted, groups: int) -> Noted:
        if groups in (1, x.channels):
            return x
        return self._move("shuffle", x, *x[:2], (1, 1, groups, 1, ""), FOLDED_THROUGH)

    def _join(
        self, kind: str, values: Sequence[Noted], inputs: int, channels: int, parts: int = 1
    ) -> Noted:
        size = values[0].size
        y = self.value(channels, size)
        read = 0
        for value in values:
            self._readers[value.id] += 1
            read += value.channels * size * size
        row = (kind, inputs, channels, read, channels * size * size, 0, 0, 1, 1, 1, parts, "")
        self._notes.append((_OTHER, values[0].id, y.id, row))
        return y

    def concat(self, name: str, values: Sequence[Noted]) -> Noted:
        if len(values) == 1:
            return values[0]
        channels = sum([v.channels for v in values])
        return self._join("concat", values, channels, channels, len(values))

    def split(self, name: str, x: Noted, channels: Sequence[int]) -> tuple[Noted, ...]:
        if len(channels) == 1:
            return (x,)
        self._move("split", x, x.channels, x.size, (1, 1, 1, len(channels), ""))
        return tuple([self.value(c, x.size) for c in channels])

    def sum(self, name: str, values: Sequence[Noted]) -> Noted:
        if len(values) == 1:
            return values[0]
        return self._join("binary", values, values[0].channels, values[0].channels)

    def avg_pool(self, name: str, x: Noted, *, kernel: int, stride: int) -> Noted:
        size = (x.size - kernel) // stride + 1
        return self._move("pool", x, x.channels, size, (kernel, stride, 1, 1, "avg"))

    def max_pool(self, name: str, x: Noted, *, kernel: int, stride: int) -> Noted:
        size = (x.size - 1) // stride + 1
        return self._move("pool", x, x.channels, size, (kernel, stride, 1, 1, "max"))

    def global_pool(self, name: str, x: Noted) -> Noted:
        return self._move("global_pool", x, x.channels, 1)

    def flatten(self, name: str, x: Noted) -> Noted:
        self._readers[x.id] += 1
        return self.value(x.channels * x.size * x.size, 1)

    def linear(self, name: str, x: Noted, channels: int, *, bias: bool) -> Noted:
        y = self.value(channels, 1)
        self._readers[x.id] += 1
        macs = x.channels * channels
        row = ("linear", x.channels, channels, x.channels, channels, macs, macs + channels * bias)
        self._notes.append((_LINEAR, x.id, y.id, (*row, 1, 1, 1, 1, "")))
        return y

    def learned_linear(
        self, name: str, x: Noted, channels: int, factor: int, *, bias: bool, at_conversion: bool
    ) -> Noted:
        return self.linear(name, self.gather(x, x.channels // factor), channels, bias=bias)
