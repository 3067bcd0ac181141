"""The rule that stores channels in whole blocks.

Runtimes that compute on blocks of channels (onnxruntime: 16 with AVX-512, 8 with AVX2) concatenate
and add in that layout only where every value is a whole number of blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from search_space.graph import Array, Graph, Index, Node, Rule
from search_space.layout import regroup

Slots = Index
"""For each stored channel which one of the graph before it is, -1 for one that is always zero."""


def pad_channels(block: int) -> Rule:
    """Every convolution writes a multiple of ``block`` channels; those added stay zero.

    Norms get scale and shift 0 there, squeeze-excites and all that read have zeros in their
    weights. Where an operation needs its channels as they were, they are gathered first.
    """

    def apply(graph: Graph) -> Graph:
        padding = _Padding(graph, block)
        for node in graph.nodes:
            padding.add(node)
        output = padding.plain(graph.output)
        return Graph(nodes=tuple(padding.nodes.values()), output=output).rewritten({})

    return apply


class _Padding:
    """The padded graph while it is made: nodes by name, and the slots of each value."""

    def __init__(self, graph: Graph, block: int) -> None:
        self.graph = graph
        self.block = block
        self.nodes: dict[str, Node] = {}
        self.slots: dict[str, Slots] = {}

    def put(self, node: Node, slots: Slots) -> str:
        shape = node.shape._replace(channels=len(slots))
        self.nodes[node.name] = replace(node, shape=shape)
        self.slots[node.name] = slots
        return node.name

    def whole(self, channels: int) -> Slots:
        """So many channels, then zeros to the next whole block."""
        slots = np.full(-(-channels // self.block) * self.block, -1)
        slots[:channels] = np.arange(channels)
        return slots

    def plain(self, name: str) -> str:
        """A value with its channels as they were before padding."""
        slots, node = self.slots[name], self.graph.makers[name]
        if is_plain(slots):
            return name
        gather = Node(
            kind="gather",
            name=f"{name}_plain",
            inputs=(name,),
            shape=node.shape,
            tensors={"index": _positions(slots)},
        )
        return self.put(gather, np.arange(node.shape.channels))

    def add(self, node: Node) -> None:
        given = [self.slots[name] for name in node.inputs]
        if node.kind in _PADDED and given:
            self.put(*_PADDED[node.kind](node, given, self))
            return
        # What moves channels, or makes a vector of positions, reads them as they were.
        inputs = tuple(self.plain(name) for name in node.inputs)
        self.put(replace(node, inputs=inputs), np.arange(node.shape.channels))

    def agree(self, names: Sequence[str]) -> tuple[str, ...]:
        """Values to add, in equal slots: the increments' convolutions write as the first is laid
        out, or all are gathered as they were."""
        wanted = self.slots[names[0]]
        for name in names[1:]:
            if np.array_equal(self.slots[name], wanted):
                continue
            node = self.nodes[name]
            alone = self.graph.only_reader(name) is not None
            if node.kind != "conv" or node.groups > 1 or not alone:
                return tuple(map(self.plain, names))
            tensors = spread_all(node.tensors, _relocated(self.slots[name], wanted))
            self.put(replace(node, tensors=tensors, learned_groups=0), wanted)
        return tuple(names)


def is_plain(slots: Slots) -> bool:
    """Whether every channel is where it was, and nothing was added."""
    return bool((slots == np.arange(len(slots))).all())


def _positions(slots: Slots) -> Index:
    """Where each channel of the graph before is stored."""
    stored = np.flatnonzero(slots >= 0)
    return stored[np.argsort(slots[stored])]


def _relocated(have: Slots, wanted: Slots) -> Slots:
    """For each wanted slot at which of the slots had its channel is, -1 for none."""
    return np.where(wanted < 0, -1, _positions(have)[wanted])


def spread(array: Array, slots: Slots, axis: int) -> Array:
    """``array`` with its entries ``slots[i]`` at position i of ``axis``; zeros where it is -1."""
    shape = list(array.shape)
    shape[axis] = len(slots)
    out = np.zeros(shape)
    where: list[slice | Index] = [slice(None)] * array.ndim
    where[axis] = np.flatnonzero(slots >= 0)
    out[tuple(where)] = np.take(array, slots[slots >= 0], axis)
    return out


def spread_all(tensors: Mapping[str, Array], slots: Slots) -> dict[str, Array]:
    """:func:`spread` along the first axis of each tensor."""
    return {name: spread(array, slots, 0) for name, array in tensors.items()}


# --- One function per kind of operation that works on padded channels -----------------------------


def _same(node: Node, given: list[Slots], padding: _Padding) -> tuple[Node, Slots]:
    return node, given[0]


def _conv(node: Node, given: list[Slots], padding: _Padding) -> tuple[Node, Slots]:
    slots, channels = given[0], node.shape.channels
    if node.is_depthwise:
        return replace(node, tensors=spread_all(node.tensors, slots), groups=len(slots)), slots
    mine = padding.whole(channels)
    weight = node.tensors["weight"]
    if node.groups > 1:
        if is_plain(slots) and is_plain(mine):
            return node, mine
        weight = regroup(weight, node.groups, 1)
    weight = spread(weight, slots, 1)
    tensors = spread_all({**node.tensors, "weight": weight}, mine)
    return replace(node, tensors=tensors, groups=1), mine


def _affine(node: Node, given: list[Slots], padding: _Padding) -> tuple[Node, Slots]:
    return replace(node, tensors=spread_all(node.tensors, given[0])), given[0]


def _squeeze_excite(node: Node, given: list[Slots], padding: _Padding) -> tuple[Node, Slots]:
    reduce, expand = node.tensors["reduce"], node.tensors["expand"]
    wide = node.with_tensors(reduce=spread(reduce, given[0], 1), expand=spread(expand, given[0], 0))
    return wide, given[0]


def _linear(node: Node, given: list[Slots], padding: _Padding) -> tuple[Node, Slots]:
    weight = spread(node.tensors["weight"], given[0], 1)
    return node.with_tensors(weight=weight), np.arange(node.shape.channels)


def _concat(node: Node, given: list[Slots], padding: _Padding) -> tuple[Node, Slots]:
    starts = np.cumsum([0, *(int((s >= 0).sum()) for s in given)])
    parts = [np.where(s >= 0, s + start, -1) for s, start in zip(given, starts, strict=False)]
    return node, np.concatenate(parts)


def _add(node: Node, given: list[Slots], padding: _Padding) -> tuple[Node, Slots]:
    inputs = padding.agree(node.inputs)
    return replace(node, inputs=inputs), padding.slots[inputs[0]]


_Rule = Callable[[Node, list[Slots], _Padding], tuple[Node, Slots]]

_PADDED: dict[str, _Rule] = {
    **dict.fromkeys(("activation", "avg_pool", "max_pool", "global_pool"), _same),
    "conv": _conv,
    "affine": _affine,
    "squeeze_excite": _squeeze_excite,
    "linear": _linear,
    "concat": _concat,
    "add": _add,
}
