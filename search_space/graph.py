"""A network as a runtime executes it: a flat list of operations with their tensors, without torch.

A :class:`Graph` is made from a network by :mod:`search_space.flatten`, rewritten by the rules of
:mod:`search_space.lowering`, and executed by :mod:`search_space.deployed` or written to a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
Index = NDArray[np.intp]


class Shape(NamedTuple):
    """A tensor of shape ``(N, channels, height, width)``; without height and width a vector
    ``(N, channels)``."""

    channels: int
    height: int = 0
    width: int = 0

    @property
    def is_vector(self) -> bool:
        return self.height == 0

    @property
    def positions(self) -> int:
        """Positions per image; a vector has one."""
        return 1 if self.is_vector else self.height * self.width


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operation and the value that it writes, which bears its name.

    What a kind reads, and of which tensors it is made:

    =============== ====================================================================
    input           nothing: the images
    conv            ``weight`` (outputs, inputs / groups, height, width), perhaps ``bias``
    linear          ``weight`` (outputs, inputs), perhaps ``bias``; on vectors
    affine          ``scale``, ``shift``: one of each per channel (a norm that is trained)
    activation      nothing but ``activation``
    squeeze_excite  ``reduce`` (hidden, channels), ``expand`` (channels, hidden), perhaps ``bias``
                    of the hidden units; ``gate`` is ``sigmoid`` or ``hard_sigmoid``
    gather          ``index``: which channel of its input each channel is
    slice           channels from ``start`` on
    shuffle         ``groups``: the transposed ``(groups, channels / groups)`` matrix of channels
    index_add       two inputs, ``index``: to which channel of the first each of the second is added
    scatter         ``index``: to which channel of zeros each channel is added
    add, concat     two or more inputs
    avg_pool        ``kernel``, ``stride``
    max_pool        ``kernel``, ``stride``, ``padding``
    global_pool     the mean over all positions, a vector
    flatten         a map as a vector, channel by channel
    =============== ====================================================================

    Args:
        kind: One of the above.
        name: Of the node and of its value.
        inputs: Names of the values that it reads.
        shape: Of its value.
        tensors: By name, in double precision, indices as integers.
        activation: Of conv, linear, affine and activation: ``relu`` or ``hard_swish``, last of all.
        kernel: Height and width; those of a convolution's weight.
        stride: Vertical and horizontal.
        padding: Rows above and below, columns left and right.
        groups: Of conv and shuffle.
        learned_groups: Of a convolution that was made dense: output ``r`` belongs to group
            ``r % learned_groups``, and each group reads few of the inputs; 0 for all others.
        start: Of slice.
        gate: Of squeeze_excite.
        repeats_gate: Of squeeze_excite: whether the gate is written out at the size of the map.
    """

    kind: str
    name: str
    inputs: tuple[str, ...] = ()
    shape: Shape
    tensors: Mapping[str, Array] = field(default_factory=dict)
    activation: str | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1
    learned_groups: int = 0
    start: int = 0
    gate: str = "sigmoid"
    repeats_gate: bool = False

    @property
    def input(self) -> str:
        return self.inputs[0]

    @property
    def is_pointwise(self) -> bool:
        """Whether it is a 1x1 convolution that keeps the size."""
        return self.kind == "conv" and self.kernel == self.stride == (1, 1)

    @property
    def is_depthwise(self) -> bool:
        """Whether it is a convolution of each channel by itself."""
        return self.kind == "conv" and self.tensors["weight"].shape[:2] == (self.groups, 1)

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers per image, zeros included."""
        if self.kind == "squeeze_excite":
            return int(self.tensors["reduce"].size + self.tensors["expand"].size)
        if self.kind in ("conv", "linear"):
            return int(self.tensors["weight"].size) * self.shape.positions
        return 0

    def with_tensors(self, **tensors: Array) -> Node:
        """The node with some of its tensors replaced."""
        return replace(self, tensors={**self.tensors, **tensors})


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """Operations in the order of execution; the first is the input, each value is read after it
    is written."""

    nodes: tuple[Node, ...]
    output: str

    @property
    def input(self) -> Node:
        return self.nodes[0]

    @cached_property
    def makers(self) -> dict[str, Node]:
        """The node of each value."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def readers(self) -> dict[str, list[Node]]:
        """The nodes that read a value, each once, in the order of execution."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return found

    def only_reader(self, name: str) -> Node | None:
        """The node that alone reads a value, None if there are several or it is the output."""
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name != self.output else None

    @property
    def macs(self) -> int:
        """Multiply-adds per image as executed, those with zeros included."""
        return sum(node.macs for node in self.nodes)

    def rewritten(
        self, written: Mapping[str, Sequence[Node]], renamed: Mapping[str, str] | None = None
    ) -> Graph:
        """The graph with nodes in the places of others.

        Args:
            written: For the name of a node what stands in its place. A node whose name is written
                again anywhere is gone, and so is what nobody reads any more.
            renamed: Values whose readers read another value from now on.
        """
        renamed = renamed or {}

        def current(name: str) -> str:
            while name in renamed:
                name = renamed[name]
            return name

        again = {node.name for nodes in written.values() for node in nodes}
        nodes = [
            node
            for old in self.nodes
            for node in written.get(old.name, () if old.name in again else (old,))
        ]
        if renamed:
            nodes = [replace(n, inputs=tuple(map(current, n.inputs))) for n in nodes]
        return Graph(nodes=_in_order(nodes, current(self.output)), output=current(self.output))


def _in_order(nodes: Iterable[Node], output: str) -> tuple[Node, ...]:
    """What the output needs and the input, each node behind those that it reads, else as given."""
    makers = {node.name: node for node in nodes}
    needed, waiting = set(), [output]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += makers[name].inputs
    ordered: dict[str, Node] = {n.name: n for n in makers.values() if n.kind == "input"}
    for start in makers:
        waiting = [start] if start in needed else []
        while waiting:
            node = makers[waiting[-1]]
            missing = [name for name in node.inputs if name not in ordered]
            waiting += missing
            if not missing:
                ordered.setdefault(node.name, node)
                waiting.pop()
    return tuple(ordered.values())


Rule = Callable[[Graph], Graph]
"""A rewriting that leaves the outputs as they are up to rounding."""


def everywhere(rule: Callable[[Node, Graph], Sequence[Node] | None]) -> Rule:
    """The rule that applies another to each node, until it applies to none.

    ``rule(node, graph)`` returns what stands in the place of a node, or None to leave it; the last
    node returned writes the node's value. A rule must not apply to what it has written.
    """

    def apply(graph: Graph) -> Graph:
        while True:
            written, renamed, taken = {}, {}, set[str]()
            for node in graph.nodes:
                instead = rule(node, graph)
                # What was rewritten in this round is looked at again in the next.
                if instead is None or taken & {node.name, *(n.name for n in instead)}:
                    continue
                written[node.name] = instead
                taken |= {node.name, *(n.name for n in instead)}
                if instead[-1].name != node.name:
                    renamed[node.name] = instead[-1].name
            if not written:
                return graph
            graph = graph.rewritten(written, renamed)

    return apply


# --- Channels that are only moved ---------------------------------------------------------------


def shuffled(groups: int, channels: int) -> Index:
    """Which channel each channel of a shuffle is."""
    return np.arange(channels).reshape(groups, -1).T.ravel()


def selected(node: Node, channels: int) -> Index | None:
    """Which channel of its ``channels`` inputs each channel of a gather, slice or shuffle is; None
    for other kinds."""
    if node.kind == "gather":
        return node.tensors["index"]
    if node.kind == "slice":
        return np.arange(node.start, node.start + node.shape.channels)
    if node.kind == "shuffle":
        return shuffled(node.groups, channels)
    return None


def addition_tables(index: Index, channels: int) -> Index:
    """An index-add as sums of gathers: ``(repeats, channels)``.

    Row i says which increment a channel is given as its i-th; ``len(index)``, a channel of zeros
    behind the increments, where there is none. Scatters with repeated indices are lost in part by
    onnxruntime, which adds them from several threads at once.
    """
    tables = np.full((max(1, int(np.bincount(index).max(initial=0))), channels), len(index))
    given = [0] * channels
    for increment, channel in enumerate(index.tolist()):
        tables[given[channel], channel] = increment
        given[channel] += 1
    return tables
