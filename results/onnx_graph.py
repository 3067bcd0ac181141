"""An ONNX file written directly from a graph, in seconds at any depth.

One function per kind of node in ``WRITERS``: nothing is traced, nothing optimised away, a few ONNX
nodes per node under its name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from search_space.errors import UserError
from search_space.graph import Array, Graph, Node, Shape, addition_tables

OPSET = 18
IR_VERSION = 10
INPUT, OUTPUT = "images", "logits"

ACTIVATIONS = {"relu": "Relu", "hard_swish": "HardSwish"}


class Writer:
    """ONNX nodes and constants as they are added; names begin with the node they belong to."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.node = Node(kind="input", name="", shape=Shape(0))

    def constant(self, name: str, values: Array | list[int], *, shared: bool = False) -> str:
        """Weights in single precision, indices as integers; ``shared`` ones once per file."""
        from onnx import numpy_helper

        array = np.asarray(values)
        integral = np.issubdtype(array.dtype, np.integer)
        full = name if shared else f"{self.node.name}.{name}"
        dtype = np.int64 if integral else np.float32
        self.constants[full] = numpy_helper.from_array(np.ascontiguousarray(array, dtype), full)
        return full

    def tensors(self, *names: str) -> list[str]:
        """Those of the node's tensors that it has."""
        return [self.constant(n, self.node.tensors[n]) for n in names if n in self.node.tensors]

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An ONNX node with one output."""
        from onnx import helper

        name = f"{self.node.name}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def activated(self, x: str) -> str:
        """What the node's activation makes of a value."""
        return x if self.node.activation is None else self.add(ACTIVATIONS[self.node.activation], x)


def _window(node: Node) -> dict[str, Any]:
    return {
        "kernel_shape": list(node.kernel),
        "strides": list(node.stride),
        "pads": 2 * list(node.padding),
    }


def _conv(w: Writer, node: Node, x: str) -> str:
    y = w.add("Conv", x, *w.tensors("weight", "bias"), group=node.groups, **_window(node))
    return w.activated(y)


def _linear(w: Writer, node: Node, x: str) -> str:
    return w.activated(w.add("Gemm", x, *w.tensors("weight", "bias"), transB=1))


def _affine(w: Writer, node: Node, x: str) -> str:
    channels = node.shape.channels
    mean = w.constant(f"zeros{channels}", np.zeros(channels), shared=True)
    variance = w.constant(f"ones{channels}", np.ones(channels), shared=True)
    y = w.add("BatchNormalization", x, *w.tensors("scale", "shift"), mean, variance, epsilon=0.0)
    return w.activated(y)


def _activation(w: Writer, node: Node, x: str) -> str:
    return w.activated(x)


def _squeeze_excite(w: Writer, node: Node, x: str) -> str:
    t = node.tensors
    bias = w.tensors("bias")
    gate = {"sigmoid": ("Sigmoid", {}), "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6})}
    kind, attributes = gate[node.gate]
    if node.shape.is_vector:
        y = w.add("Gemm", x, *w.tensors("reduce"), *bias, transB=1)
        y = w.add("Gemm", w.add("Relu", y), *w.tensors("expand"), transB=1)
        return w.add("Mul", x, w.add(kind, y, **attributes))
    y = w.add("GlobalAveragePool", x)
    y = w.add("Conv", y, w.constant("reduce", t["reduce"][:, :, None, None]), *bias)
    y = w.add("Conv", w.add("Relu", y), w.constant("expand", t["expand"][:, :, None, None]))
    y = w.add(kind, y, **attributes)
    if node.repeats_gate:
        size = node.shape[1:]
        scales = w.constant("x".join(map(str, size)), np.array([1.0, 1.0, *size]), shared=True)
        y = w.add(
            "Resize",
            y,
            "",
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    return w.add("Mul", x, y)


def _gather(w: Writer, node: Node, x: str) -> str:
    return w.add("Gather", x, *w.tensors("index"), axis=1)


def _slice(w: Writer, node: Node, x: str) -> str:
    ends = ([node.start], [node.start + node.shape.channels], [1])
    names = ("start", "end", "axis")
    return w.add("Slice", x, *(w.constant(n, e) for n, e in zip(names, ends, strict=True)))


def _shuffle(w: Writer, node: Node, x: str) -> str:
    channels, height, width = node.shape
    grouped = [0, node.groups, channels // node.groups, height * width]  # 0 keeps the batch
    y = w.add("Reshape", x, w.constant("grouped", grouped))
    y = w.add("Transpose", y, perm=[0, 2, 1, 3])
    return w.add("Reshape", y, w.constant("shape", [0, channels, height, width]))


def _increments(w: Writer, node: Node, y: str) -> list[str]:
    y = w.add("Pad", y, w.constant("pads", [0, 0, 0, 0, 0, 1, 0, 0]))
    tables = addition_tables(node.tensors["index"], node.shape.channels)
    constants = [w.constant(f"table{i}", table) for i, table in enumerate(tables)]
    return [w.add("Gather", y, table, axis=1) for table in constants]


def _index_add(w: Writer, node: Node, x: str, y: str) -> str:
    return _add(w, node, x, *_increments(w, node, y))


def _scatter(w: Writer, node: Node, y: str) -> str:
    return _add(w, node, *_increments(w, node, y))


def _add(w: Writer, node: Node, x: str, *others: str) -> str:
    for y in others:
        x = w.add("Add", x, y)
    return x


def _concat(w: Writer, node: Node, *xs: str) -> str:
    return w.add("Concat", *xs, axis=1)


def _avg_pool(w: Writer, node: Node, x: str) -> str:
    return w.add("AveragePool", x, **_window(node))


def _max_pool(w: Writer, node: Node, x: str) -> str:
    return w.add("MaxPool", x, **_window(node))


def _flatten(w: Writer, node: Node, x: str) -> str:
    return w.add("Flatten", x)


def _global_pool(w: Writer, node: Node, x: str) -> str:
    return w.add("Flatten", w.add("GlobalAveragePool", x))


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
"""How to write each kind of node: ``writer(writer, node, *inputs)`` returns the name written."""


def onnx_model(graph: Graph, *, name: str = "network", dynamic_batch: bool = False) -> Any:
    """The ``ModelProto`` of a graph, its weights inside.

    Args:
        graph: Of any lowering.
        name: Of the network.
        dynamic_batch: Whether it takes any number of images at once instead of one.
    """
    from onnx import TensorProto, helper

    writer = Writer()
    values = {graph.input.name: INPUT}
    for node in graph.nodes[1:]:
        writer.node = node
        values[node.name] = WRITERS[node.kind](writer, node, *(values[n] for n in node.inputs))
    writer.nodes.append(helper.make_node("Identity", [values[graph.output]], [OUTPUT]))
    batch = "batch" if dynamic_batch else 1
    logits = [batch, graph.makers[graph.output].shape.channels]
    proto = helper.make_graph(
        writer.nodes,
        name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, *graph.input.shape])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, logits)],
        list(writer.constants.values()),
    )
    return helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


def write_onnx(graph: Graph, path: Path, *, name: str, dynamic_batch: bool = False) -> None:
    """Writes :func:`onnx_model` to a file.

    Raises:
        UserError: the weights exceed the two gigabytes of one file.
    """
    import onnx

    try:
        onnx.save(onnx_model(graph, name=name, dynamic_batch=dynamic_batch), path)
    except ValueError as error:  # protobuf's limit
        raise UserError(
            f"the graph of {name} cannot be written into one file ({error}); use --exporter dynamo"
        ) from None
