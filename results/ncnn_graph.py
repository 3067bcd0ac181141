"""An ncnn network written directly from a graph: ``.param``, its layers, and ``.bin``, their
weights in the same order.

One function per kind of node in ``WRITERS``; the numbers of parameters and the order of weights are
those of ncnn's wiki, "operation param weight table".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from results.ncnn_layers import Layer, Parameters, param_text, renamed, split
from search_space.graph import Array, Graph, Index, Node, addition_tables, shuffled

INPUT, OUTPUT = "in0", "out0"
NAME_LENGTH = 200
"""ncnn reads names of up to 255 characters."""

HARD: Parameters = {0: 1 / 6, 1: 0.5}
"""Slope and offset of the hard sigmoid and hard swish."""
ACTIVATIONS: dict[str, tuple[str, Parameters]] = {
    "relu": ("ReLU", {}),
    "hard_swish": ("HardSwish", HARD),
}
FUSED: dict[str | None, Parameters] = {
    None: {},
    "relu": {9: 1},
    "hard_swish": {9: 6, 10: (1 / 6, 0.5)},
}
"""Activations as parameters of convolutions and linear layers."""
GATES: dict[str, tuple[str, Parameters]] = {
    "sigmoid": ("Sigmoid", {}),
    "hard_sigmoid": ("HardSigmoid", HARD),
}
ADD, MULTIPLY = 0, 2
"""Of ``BinaryOp``."""
MAXIMUM, MEAN = 0, 1
"""Of ``Pooling``."""
ROUNDED_DOWN = 1
"""Of ``Pooling``: rows and columns that fill no window are left out."""


class Writer:
    """Layers and weights as they are added; a layer's name is that of its node behind a number."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.node = graph, graph.input
        self.layers: list[Layer] = []
        self.weights: list[bytes] = []
        channels, height, width = graph.input.shape
        size: Parameters = {0: width, 1: height, 2: channels}
        self.blobs = {graph.input.name: self.add("Input", parameters=size)}
        """By the value of the graph that they hold."""

    def add(self, kind: str, *inputs: str, parameters: Parameters | None = None) -> str:
        """A layer that writes one blob, which bears its name."""
        (blob,) = self.add_many(kind, *inputs, outputs=1, parameters=parameters)
        return blob

    def add_many(
        self, kind: str, *inputs: str, outputs: int, parameters: Parameters | None = None
    ) -> tuple[str, ...]:
        """A layer that writes so many blobs."""
        name = f"{len(self.layers)}_{self.node.name}"[:NAME_LENGTH]
        blobs = (name, *(f"{name}_{i}" for i in range(1, outputs)))
        self.layers.append(
            Layer(kind=kind, name=name, inputs=inputs, outputs=blobs, parameters=parameters or {})
        )
        return blobs

    def weight(self, values: Array) -> None:
        """The weight of the layer added last, behind a mark for single precision."""
        self.weights.append(bytes(4))
        self.vector(values)

    def vector(self, values: Array) -> None:
        """A bias or the like, which has no such mark."""
        self.weights.append(np.ascontiguousarray(values, "<f4").tobytes())


# --- Layers with weights -------------------------------------------------------------------------


def _conv(w: Writer, node: Node, x: str) -> str:
    weight, bias = node.tensors["weight"], node.tensors.get("bias")
    (height, width), (down, right), (above, beside) = node.kernel, node.stride, node.padding
    parameters: Parameters = {0: node.shape.channels, 1: width, 11: height, 3: right, 13: down}
    parameters |= {4: beside, 14: above, 5: int(bias is not None), 6: weight.size}
    if node.groups > 1:
        parameters[7] = node.groups
    kind = "Convolution" if node.groups == 1 else "ConvolutionDepthWise"
    y = w.add(kind, x, parameters=parameters | FUSED[node.activation])
    w.weight(weight)
    if bias is not None:
        w.vector(bias)
    return y


def _linear(w: Writer, node: Node, x: str) -> str:
    t = node.tensors
    return _product(w, x, t["weight"], t.get("bias"), node.activation)


def _product(
    w: Writer, x: str, weight: Array, bias: Array | None, activation: str | None = None
) -> str:
    parameters: Parameters = {0: len(weight), 1: int(bias is not None), 2: weight.size}
    y = w.add("InnerProduct", x, parameters=parameters | FUSED[activation])
    w.weight(weight)
    if bias is not None:
        w.vector(bias)
    return y


def _affine(w: Writer, node: Node, x: str) -> str:
    # A Scale says the same, but ncnn has it in single precision only: a network of half precision
    # would convert all that it reads and writes.
    y = w.add("BatchNorm", x, parameters={0: node.shape.channels})
    mean, variance = np.zeros(node.shape.channels), np.ones(node.shape.channels)
    for values in (node.tensors["scale"], mean, variance, node.tensors["shift"]):
        w.vector(values)
    return _activation(w, node, y)


def _activation(w: Writer, node: Node, x: str) -> str:
    if node.activation is None:
        return x
    kind, parameters = ACTIVATIONS[node.activation]
    return w.add(kind, x, parameters=parameters)


def _squeeze_excite(w: Writer, node: Node, x: str) -> str:
    t = node.tensors
    y = x if node.shape.is_vector else _global_pool(w, node, x)
    y = _product(w, y, t["reduce"], t.get("bias"), "relu")
    kind, parameters = GATES[node.gate]
    y = w.add(kind, _product(w, y, t["expand"], None), parameters=parameters)
    return w.add("BinaryOp", x, y, parameters={0: MULTIPLY})


# --- Channels that are moved ---------------------------------------------------------------------


def _gather(w: Writer, node: Node, x: str) -> str:
    index = node.tensors["index"]
    if groups := _groups_of_shuffle(index):
        return w.add("ShuffleChannel", x, parameters={0: groups})
    return _pick(w, x, index, w.graph.makers[node.input].shape.channels)


def _groups_of_shuffle(index: Index) -> int:
    """The groups of the shuffle that an index is, 0 where it is none."""
    step = int(index[1]) if len(index) > 1 else 0
    if step < 2 or len(index) % step:
        return 0
    groups = len(index) // step
    return groups if np.array_equal(index, shuffled(groups, len(index))) else 0


def _runs(index: Index) -> list[tuple[int, int]]:
    """Start and end of the neighbours in an index, in its order."""
    ends = np.flatnonzero(np.diff(index) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(index, ends)]


def _pick(w: Writer, x: str, index: Index, channels: int) -> str:
    """Channels taken out in runs of neighbours and joined again."""
    runs = _runs(index)
    if len(runs) == 1:
        return _crop(w, x, *runs[0])
    # One layer cuts wherever a run begins or ends; a layer per run takes several times as long.
    cuts = sorted({c for run in runs for c in run} - {0, channels})
    parts = w.add_many("Slice", x, outputs=len(cuts) + 1, parameters={2: cuts, 1: 0})
    places = {start: i for i, start in enumerate((0, *cuts))}
    ends = {end: i + 1 for i, end in enumerate((*cuts, channels))}
    chosen = [parts[i] for start, end in runs for i in range(places[start], ends[end])]
    return w.add("Concat", *chosen, parameters={0: 0})


def _slice(w: Writer, node: Node, x: str) -> str:
    return _crop(w, x, node.start, node.start + node.shape.channels)


def _crop(w: Writer, x: str, start: int, end: int) -> str:
    return w.add("Crop", x, parameters={9: (start,), 10: (end,), 11: (0,)})


def _shuffle(w: Writer, node: Node, x: str) -> str:
    return w.add("ShuffleChannel", x, parameters={0: node.groups})


def _increments(w: Writer, node: Node, y: str) -> list[str]:
    y = w.add("Padding", y, parameters={8: 1})
    tables = addition_tables(node.tensors["index"], node.shape.channels)
    return [_pick(w, y, table, len(node.tensors["index"]) + 1) for table in tables]


def _index_add(w: Writer, node: Node, x: str, y: str) -> str:
    return _add(w, node, x, *_increments(w, node, y))


def _scatter(w: Writer, node: Node, y: str) -> str:
    return _add(w, node, *_increments(w, node, y))


def _add(w: Writer, node: Node, x: str, *others: str) -> str:
    for y in others:
        x = w.add("BinaryOp", x, y, parameters={0: ADD})
    return x


def _concat(w: Writer, node: Node, *xs: str) -> str:
    return w.add("Concat", *xs, parameters={0: 0})


# --- Pooling -------------------------------------------------------------------------------------


def _pool(w: Writer, node: Node, x: str, kind: int) -> str:
    (height, width), (down, right), (above, beside) = node.kernel, node.stride, node.padding
    window: Parameters = {1: width, 11: height, 2: right, 12: down}
    padding: Parameters = {3: beside, 13: above, 14: beside, 15: above, 5: ROUNDED_DOWN}
    return w.add("Pooling", x, parameters={0: kind, **window, **padding})


def _avg_pool(w: Writer, node: Node, x: str) -> str:
    return _pool(w, node, x, MEAN)


def _max_pool(w: Writer, node: Node, x: str) -> str:
    return _pool(w, node, x, MAXIMUM)


def _global_pool(w: Writer, node: Node, x: str) -> str:
    return w.add("Pooling", x, parameters={0: MEAN, 4: 1})


def _flatten(w: Writer, node: Node, x: str) -> str:
    return w.add("Flatten", x)


WRITERS: dict[str, Callable[..., str]] = {
    "conv": _conv,
    "linear": _linear,
    "affine": _affine,
    "activation": _activation,
    "squeeze_excite": _squeeze_excite,
    "gather": _gather,
    "slice": _slice,
    "shuffle": _shuffle,
    "index_add": _index_add,
    "scatter": _scatter,
    "add": _add,
    "concat": _concat,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "global_pool": _global_pool,
    "flatten": _flatten,
}
"""How to write each kind of node: ``writer(writer, node, *inputs)`` returns the blob written."""


def ncnn_model(graph: Graph) -> tuple[str, bytes]:
    """The text of ``.param`` and the bytes of ``.bin``; the network takes one image at a time.

    Args:
        graph: Of any lowering.
    """
    w = Writer(graph)
    for node in graph.nodes[1:]:
        w.node = node
        inputs = (w.blobs[name] for name in node.inputs)
        w.blobs[node.name] = WRITERS[node.kind](w, node, *inputs)
    ends = {w.blobs[graph.input.name]: INPUT, w.blobs[graph.output]: OUTPUT}
    return param_text(split(renamed(w.layers, ends))), b"".join(w.weights)


def write_ncnn(graph: Graph, param: Path, weights: Path) -> None:
    """Writes :func:`ncnn_model` to two files."""
    text, data = ncnn_model(graph)
    param.write_text(text, encoding="utf-8")
    weights.write_bytes(data)
