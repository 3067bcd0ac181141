"""From an ONNX file to the kernels that an inference runtime executes.

One function per kind of operation in ``CALLS``. An operation that is not there becomes a kernel of
the kind ``other`` with the operation's name, which no device has a price for.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from latency_models.calls import Call, Role, executed
from latency_models.kernels import Kernel, MoveKind, conv_kind
from latency_models.onnx_graph import Dims, OnnxGraph, OnnxNode
from latency_models.onnx_patterns import joined, runs
from latency_models.onnx_reader import read_onnx

Made = tuple[Role, Kernel]
Maker = Callable[[OnnxNode, OnnxGraph], Made]

VIEWS = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze")
"""Operations that only give a value another name or shape."""


def _channels(shape: Dims) -> int:
    return shape[1] if len(shape) > 1 else prod(shape)


def _moved(node: OnnxNode, g: OnnxGraph) -> dict[str, Any]:
    """What any kernel is told of its tensors."""
    return {
        "in_channels": _channels(g.shape(node.reads[0])) if node.reads else 0,
        "out_channels": sum(_channels(g.shape(name)) for name in node.writes),
        "in_elements": sum(g.elements(name) for name in node.reads),
        "out_elements": sum(g.elements(name) for name in node.writes),
    }


def _move(kind: MoveKind, node: OnnxNode, g: OnnxGraph, **settings: Any) -> Kernel:
    return Kernel(kind=kind, **_moved(node, g) | settings)


def unknown(node: OnnxNode, g: OnnxGraph) -> Made:
    """What no device has a price for."""
    return "other", _move("other", node, g, function=node.op)


def _known_other(node: OnnxNode, g: OnnxGraph) -> Made:
    return "other", _move("other", node, g)


# --- Operations that multiply -------------------------------------------------------------------


def _conv(node: OnnxNode, g: OnnxGraph) -> Made:
    if len(node.reads) != 1:
        return unknown(node, g)
    weight, read, written = (g.shape(n) for n in (node.arguments[1], node.reads[0], node.writes[0]))
    groups, kernel = node.attributes.get("group", 1), max(weight[2:])
    kind = conv_kind(
        inputs=read[1],
        outputs=written[1],
        kernel=kernel,
        groups=groups,
        out_size=prod(written[2:]),
    )
    # A bias is not counted: it is what a norm becomes that folds into the convolution.
    return "conv", Kernel(
        kind=kind,
        **_moved(node, g),
        macs=prod(weight[1:]) * prod(written),
        weights=prod(weight),
        kernel=kernel,
        stride=max(node.attributes.get("strides", [1])),
        groups=groups,
    )


def _linear(node: OnnxNode, g: OnnxGraph) -> Made:
    if len(node.reads) != 1:
        return unknown(node, g)
    read, written = g.shape(node.arguments[0]), g.shape(node.writes[0])
    features = {"in_channels": read[-1], "out_channels": written[-1]}
    weights = sum(g.elements(n) for n in node.arguments if n and n not in node.reads)
    macs = prod(written) * read[-1]
    moved = _moved(node, g) | features
    return "linear", Kernel(kind="linear", macs=macs, weights=weights, **moved)


# --- Operations that move -------------------------------------------------------------------------


def _elementwise(role: Role, function: str) -> Maker:
    def make(node: OnnxNode, g: OnnxGraph) -> Made:
        return role, _move("elementwise", node, g, function=function)

    return make


def _arithmetic(node: OnnxNode, g: OnnxGraph) -> Made:
    """On two values, or on one and constants: then it is a scale or shift, as a norm is."""
    if len(node.reads) == 1:
        return "norm", _move("elementwise", node, g, function="norm")
    return "other", _move("binary", node, g)


def _concat(node: OnnxNode, g: OnnxGraph) -> Made:
    channels = sum(_channels(g.shape(name)) for name in node.arguments)
    return "other", _move("concat", node, g, in_channels=channels, parts=len(node.arguments))


def _split(node: OnnxNode, g: OnnxGraph) -> Made:
    return "other", _move("split", node, g, parts=len(node.writes))


def _shuffle(node: OnnxNode, g: OnnxGraph) -> Made:
    return "shuffle", _move("shuffle", node, g, groups=node.attributes["groups"])


def _gather(node: OnnxNode, g: OnnxGraph) -> Made:
    index = g.value(node.arguments[1])
    if index is None or node.attributes.get("axis", 0) != 1:
        return unknown(node, g)
    channels = {"out_channels": index.size}
    return "other", _move("gather", node, g, parts=runs(index.ravel()), **channels)


def _index_add(node: OnnxNode, g: OnnxGraph) -> Made:
    return "other", _move("index_add", node, g, parts=node.attributes["parts"])


def _pool(node: OnnxNode, g: OnnxGraph) -> Made:
    window, strides = node.attributes["kernel_shape"], node.attributes.get("strides", [1])
    function = "avg" if node.op == "AveragePool" else "max"
    settings = {"kernel": max(window), "stride": max(strides), "function": function}
    return "other", _move("pool", node, g, **settings)


def _global_pool(node: OnnxNode, g: OnnxGraph) -> Made:
    sides = g.shape(node.reads[0])[2:]
    return "other", _move("global_pool", node, g, kernel=max(sides, default=1))


def _mean(node: OnnxNode, g: OnnxGraph) -> Made:
    """A pooling, if it is over all positions."""
    read = g.shape(node.reads[0])
    axes = node.attributes.get("axes")
    if axes is None and len(node.arguments) > 1:
        axes = g.value(node.arguments[1])
    over = {int(axis) % len(read) for axis in np.ravel(() if axes is None else axes)}
    if len(read) < 3 or over != {*range(2, len(read))}:
        return unknown(node, g)
    return _global_pool(node, g)


_RELU = _elementwise("activation", "relu")
_EXPONENTIAL = _elementwise("activation", "sigmoid")
_CLAMPED = _elementwise("activation", "hard_swish")
_SWISH = _elementwise("activation", "swish")

CALLS: dict[str, Maker] = {
    "Conv": _conv,
    "Gemm": _linear,
    "MatMul": _linear,
    "BatchNormalization": _elementwise("norm", "norm"),
    # Activations take the name of what costs as much.
    **dict.fromkeys(("Relu", "Clip", "LeakyRelu", "PRelu"), _RELU),
    **dict.fromkeys(("HardSwish", "HardSigmoid"), _CLAMPED),
    **dict.fromkeys(("Sigmoid", "Tanh", "Elu", "Selu", "Softplus"), _EXPONENTIAL),
    **dict.fromkeys(("Swish", "Gelu", "Mish"), _SWISH),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Sum"), _arithmetic),
    "Concat": _concat,
    "Split": _split,
    "Shuffle": _shuffle,
    "Gather": _gather,
    **dict.fromkeys(("IndexAdd", "Scatter"), _index_add),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    "ReduceMean": _mean,
    # Moved memory and little else; layer tables have them under this kind, too.
    **dict.fromkeys(("LRN", "Pad", "Resize", "Slice", "Softmax", "Transpose"), _known_other),
}
"""What each operation is made into: how it folds, and its kernel."""


def graph_kernels(graph: OnnxGraph) -> tuple[Kernel, ...]:
    """The kernels of a network in the order of execution.

    Raises:
        UserError: a shape is not known.
    """
    graph = joined(graph)
    names: dict[str, str] = {}  # of views: the value that they show
    calls = []
    for node in graph.nodes:
        reads = tuple(names.get(name, name) for name in node.reads)
        if node.op in VIEWS and reads:
            names |= dict.fromkeys(node.writes, reads[0])
            continue
        role, kernel = CALLS.get(node.op, unknown)(node, graph)
        calls.append(Call(role, reads, node.writes, (kernel,)))
    return executed(calls, [names.get(name, name) for name in graph.outputs])


def onnx_kernels(path: Path, resolution: int | None = None) -> tuple[Kernel, ...]:
    """The kernels of the network of a file, for one image.

    Args:
        path: The file.
        resolution: Pixels of the images, where the file leaves them open.

    Raises:
        UserError: it cannot be read, or a shape is not known.
    """
    return graph_kernels(read_onnx(path, resolution))
