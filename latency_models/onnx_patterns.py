"""Several ONNX operations that are one kernel: shuffles, gated activations, index-adds, splits.

A pattern sees the last of its operations and says what stands for all of them, or None. What it
makes is named by an ONNX type where one exists (``HardSwish``, ``Swish``, ``Split``), else
``Shuffle``, ``Scatter`` or ``IndexAdd``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from latency_models.onnx_graph import Array, OnnxGraph, OnnxNode

Pattern = Callable[[OnnxNode, OnnxGraph], OnnxNode | None]

_SMOOTH = ("Sigmoid", "Tanh", "Erf", "Softplus")
_CLAMPED = ("HardSigmoid", "Clip", "Relu")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
"""Steps of a gate; arithmetic ones with a constant."""


def _maker(name: str, graph: OnnxGraph, *ops: str) -> OnnxNode | None:
    """The node that writes a value for one reader alone, if it is one of these operations."""
    node = graph.makers.get(name)
    return node if node and node.op in ops and graph.read_once(name) else None


def shuffle(node: OnnxNode, graph: OnnxGraph) -> OnnxNode | None:
    """Reshape to ``(N, groups, channels / groups, ...)``, exchange of these two axes, Reshape."""
    swap = _maker(node.arguments[0], graph, "Transpose") if node.op == "Reshape" else None
    grouping = _maker(swap.reads[0], graph, "Reshape") if swap else None
    if not swap or not grouping:
        return None
    before, grouped = graph.shape(grouping.arguments[0]), graph.shape(grouping.writes[0])
    order = list(range(len(grouped)))
    order[1:3] = order[2:0:-1]
    if (
        list(swap.attributes.get("perm", ())) != order
        or len(grouped) < 3
        or before[:2] != (grouped[0], grouped[1] * grouped[2])
        or graph.shape(node.writes[0]) != before
    ):
        return None
    groups = {"groups": grouped[1]}
    return replace(node, op="Shuffle", reads=grouping.reads, arguments=(), attributes=groups)


def gate(node: OnnxNode, graph: OnnxGraph) -> OnnxNode | None:
    """A value times a function of itself: swish, hard-swish, GELU."""
    if node.op != "Mul" or len(node.reads) != 2:
        return None
    (root, left), (other, right) = (_root(name, graph) for name in node.reads)
    steps = {*left, *right}
    if root != other or not steps & {*_SMOOTH, *_CLAMPED}:
        return None
    op = "Swish" if steps & {*_SMOOTH} else "HardSwish"
    return replace(node, op=op, reads=(root,), arguments=(root,), attributes={})


def _root(name: str, graph: OnnxGraph) -> tuple[str, list[str]]:
    """Where a chain of elementwise operations on one value begins, and what they are."""
    steps: list[str] = []
    while (node := _maker(name, graph, *_SMOOTH, *_CLAMPED, *_ARITHMETIC)) and len(node.reads) == 1:
        steps.append(node.op)
        name = node.reads[0]
    return name, steps


def scaled_gate(node: OnnxNode, graph: OnnxGraph) -> OnnxNode | None:
    """A number that a gated value is multiplied with, such as the sixth of a hard-swish."""
    if node.op not in ("Mul", "Div") or len(node.reads) != 1:
        return None
    gated = _maker(node.reads[0], graph, "Swish", "HardSwish")
    factors = [name for name in node.arguments if name not in node.reads]
    if not gated or any(graph.elements(name) != 1 for name in factors):
        return None
    return replace(gated, writes=node.writes)


def biased_product(node: OnnxNode, graph: OnnxGraph) -> OnnxNode | None:
    """A product with constants and the addition of others, one per feature."""
    product = _maker(node.reads[0], graph, "MatMul") if len(node.reads) == 1 else None
    if node.op != "Add" or not product or len(product.reads) != 1:
        return None
    (bias,) = (name for name in node.arguments if name not in node.reads)
    if graph.elements(bias) != graph.shape(node.writes[0])[-1]:
        return None
    return replace(product, arguments=(*product.arguments, bias), writes=node.writes)


# --- Channels added where an index says -----------------------------------------------------------


def scatter(node: OnnxNode, graph: OnnxGraph) -> OnnxNode | None:
    """Channels of zeros behind others, and a gather that puts each where it belongs."""
    index = graph.value(node.arguments[1]) if node.op == "Gather" else None
    pad = graph.makers.get(node.reads[0]) if index is not None and index.ndim == 1 else None
    if index is None or not pad or pad.op != "Pad" or node.attributes.get("axis", 0) != 1:
        return None
    before, behind = graph.shape(pad.reads[0]), graph.shape(pad.writes[0])
    if before[2:] != behind[2:] or len(index) == 0:
        return None
    parts = {"parts": runs(index[index < before[1]])}
    return replace(node, op="Scatter", reads=pad.reads, arguments=(), attributes=parts)


def runs(index: Array) -> int:
    """Runs of neighbouring channels in an index."""
    return int((np.diff(index) != 1).sum()) + (len(index) > 0)


def index_add(node: OnnxNode, graph: OnnxGraph) -> OnnxNode | None:
    """A value to which scattered channels are added."""
    if node.op != "Add" or len(node.reads) != 2:
        return None
    for base, added in (node.reads, node.reads[::-1]):
        if scattered := _maker(added, graph, "Scatter"):
            reads = (base, *scattered.reads)
            return replace(scattered, op="IndexAdd", reads=reads, writes=node.writes)
    return None


def repeated_index_add(node: OnnxNode, graph: OnnxGraph) -> OnnxNode | None:
    """Two index-adds of the same channels: where a channel is given several of them."""
    before = _maker(node.reads[0], graph, "IndexAdd", "Scatter") if node.op == "IndexAdd" else None
    if not before or before.reads[-1] != node.reads[-1]:
        return None
    parts = before.attributes["parts"] + node.attributes["parts"]
    return replace(before, writes=node.writes, attributes={"parts": parts})


# --- All of them ----------------------------------------------------------------------------------

PATTERNS: tuple[Pattern, ...] = (
    shuffle,
    gate,
    scaled_gate,
    biased_product,
    scatter,
    index_add,
    repeated_index_add,
)
"""In the order of application; later ones see what earlier ones made."""


def joined(graph: OnnxGraph) -> OnnxGraph:
    """The graph with one operation for several, wherever a pattern applies."""
    graph = _splits(graph)
    for pattern in PATTERNS:
        while True:
            found = ((node, pattern(node, graph)) for node in graph.nodes if node.reads)
            instead = {node: made for node, made in found if made}
            if not instead:
                break
            graph = _pruned(graph.with_nodes(instead.get(node, node) for node in graph.nodes))
    return graph


def _pruned(graph: OnnxGraph) -> OnnxGraph:
    """Without the operations that nobody reads any more."""
    needed, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if needed & {*node.writes}:
            kept.append(node)
            needed.update(node.reads)
    return graph.with_nodes(reversed(kept))


def _splits(graph: OnnxGraph) -> OnnxGraph:
    """Slices of one value's channels are one split, in the place of the first."""
    slices: dict[str, list[OnnxNode]] = {}
    for node in graph.nodes:
        if node.op == "Slice" and _is_of_channels(node, graph):
            slices.setdefault(node.reads[0], []).append(node)
    firsts = {
        pieces[0]: replace(pieces[0], op="Split", writes=tuple(p.writes[0] for p in pieces))
        for pieces in slices.values()
    }
    gone = {piece for pieces in slices.values() for piece in pieces[1:]}
    return graph.with_nodes(firsts.get(node, node) for node in graph.nodes if node not in gone)


def _is_of_channels(node: OnnxNode, graph: OnnxGraph) -> bool:
    """Whether a slice takes neighbouring channels and all of every other axis."""
    before, after = graph.shape(node.arguments[0]), graph.shape(node.writes[0])
    steps = graph.value(node.arguments[4]) if len(node.arguments) > 4 else None
    neighbours = steps is None or bool((steps == 1).all())
    return neighbours and before[:1] + before[2:] == after[:1] + after[2:]
