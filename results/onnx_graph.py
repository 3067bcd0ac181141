"""An ONNX graph written directly from the operations of a network, in seconds at any depth.

One function per kind of module in ``WRITERS``: from the names of its inputs to those of its
outputs. Nothing is traced, nothing optimised away: a node or a few per operation, under the names
of the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from results.lowered import GatheredAdd
from search_space import modules as m
from search_space.errors import UserError
from search_space.network import FragmentModule, Network
from search_space.ops import Op

OPSET = 18
IR_VERSION = 10
INPUT, OUTPUT = "images", "logits"


class Graph:
    """Nodes and constants as they are added. Names begin with the operation they belong to."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.vectors: set[str] = set()
        """Values of shape ``(N, channels)``; all others are ``(N, channels, size, size)``."""
        self.scope = ""

    def constant(self, name: str, values: Tensor | list[int]) -> str:
        from onnx import numpy_helper

        array: NDArray[Any]
        if isinstance(values, Tensor):
            array = values.detach().cpu().contiguous().numpy()
        else:
            array = np.array(values, np.int64)
        full = f"{self.scope}.{name}"
        self.constants[full] = numpy_helper.from_array(array, full)
        return full

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        return self.add_several(kind, inputs, 1, **attributes)[0]

    def add_several(
        self, kind: str, inputs: Iterable[str], outputs: int, **attributes: Any
    ) -> tuple[str, ...]:
        from onnx import helper

        name = f"{self.scope}/{kind}_{len(self.nodes)}"
        names = tuple(f"{name}:{i}" if i else name for i in range(outputs))
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names

    def add_vector(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node whose output is of shape ``(N, channels)``."""
        name = self.add(kind, *inputs, **attributes)
        self.vectors.add(name)
        return name

    def mean(self, x: str) -> str:
        """``(N, channels)``: the mean over all positions."""
        return self.add_vector("ReduceMean", x, self.constant("axes", [2, 3]), keepdims=0)


def _pair(value: int | tuple[int, ...] | str) -> list[int]:
    assert not isinstance(value, str)
    return list(value) if isinstance(value, tuple) else [value, value]


def _conv_node(g: Graph, x: str, weight: Tensor, bias: Tensor | None, **attributes: Any) -> str:
    constants = [g.constant("weight", weight)]
    constants += [g.constant("bias", bias)] if bias is not None else []
    return g.add("Conv", x, *constants, kernel_shape=list(weight.shape[2:]), **attributes)


def _conv(g: Graph, op: Op, c: nn.Conv2d, x: str) -> str:
    return _conv_node(
        g,
        x,
        c.weight,
        c.bias,
        strides=_pair(c.stride),
        pads=2 * _pair(c.padding),
        dilations=_pair(c.dilation),
        group=c.groups,
    )


def _masked_conv(g: Graph, op: Op, layer: m.LearnedGroupConv | m.SparseReactivation, x: str) -> str:
    return _conv_node(g, x, layer.weight * layer.expanded_mask(), None, pads=4 * [layer.padding])


def _linear(g: Graph, op: Op, layer: nn.Linear, x: str) -> str:
    constants = [g.constant("weight", layer.weight)]
    constants += [g.constant("bias", layer.bias)] if layer.bias is not None else []
    return g.add_vector("Gemm", x, *constants, transB=1)


def _masked_linear(g: Graph, op: Op, layer: m.LearnedClassifier, x: str) -> str:
    constants = [g.constant("weight", layer.weight * layer.expanded_mask())]
    constants += [g.constant("bias", layer.bias)] if layer.bias is not None else []
    return g.add_vector("Gemm", x, *constants, transB=1)


def _norm(g: Graph, op: Op, norm: nn.BatchNorm2d, x: str) -> str:
    names = ("weight", "bias", "running_mean", "running_var")
    constants = [g.constant(name, getattr(norm, name)) for name in names]
    return g.add("BatchNormalization", x, *constants, epsilon=norm.eps)


def _pointwise(kind: str) -> Callable[[Graph, Op, Any, str], str]:
    def write(g: Graph, op: Op, module: nn.Module, x: str) -> str:
        return (g.add_vector if x in g.vectors else g.add)(kind, x)

    return write


def _squeeze_excite(g: Graph, op: Op, se: m.SqueezeExcite, x: str) -> str:
    pooled = x if x in g.vectors else g.mean(x)
    hidden = g.add("Relu", g.add("Gemm", pooled, g.constant("reduce", se.reduce.weight), transB=1))
    scale = g.add("Gemm", hidden, g.constant("expand", se.expand.weight), transB=1)
    scale = g.add("Sigmoid", scale)
    if x in g.vectors:
        return g.add_vector("Mul", x, scale)
    return g.add("Mul", x, g.add("Unsqueeze", scale, g.constant("map", [2, 3])))


def _gather(g: Graph, op: Op, gather: m.Gather, x: str) -> str:
    add = g.add_vector if x in g.vectors else g.add
    return add("Gather", x, g.constant("index", gather.index), axis=1)


def _gathered_add(g: Graph, op: Op, module: GatheredAdd, x: str, y: str) -> str:
    y = g.add("Pad", y, g.constant("pads", [0, 0, 0, 0, 0, 1, 0, 0]))
    for i, table in enumerate(module.tables):
        x = g.add("Add", x, g.add("Gather", y, g.constant(f"table{i}", table), axis=1))
    return x


def _shuffle(g: Graph, op: Op, shuffle: m.Shuffle, x: str) -> str:
    channels, size = op.input.channels, op.input.size
    grouped = [0, shuffle.groups, channels // shuffle.groups, size * size]  # 0 keeps the batch
    y = g.add("Reshape", x, g.constant("grouped", grouped))
    y = g.add("Transpose", y, perm=[0, 2, 1, 3])
    return g.add("Reshape", y, g.constant("shape", [0, channels, size, size]))


def _concat(g: Graph, op: Op, module: m.Concat, *xs: str) -> str:
    return g.add("Concat", *xs, axis=1)


def _split(g: Graph, op: Op, split: m.Split, x: str) -> tuple[str, ...]:
    sizes = g.constant("sizes", split.sizes)
    return g.add_several("Split", (x, sizes), len(split.sizes), axis=1)


def _add(g: Graph, op: Op, module: m.Add, x: str, y: str) -> str:
    return g.add("Add", x, y)


def _avg_pool(g: Graph, op: Op, pool: nn.AvgPool2d, x: str) -> str:
    return g.add(
        "AveragePool",
        x,
        kernel_shape=_pair(pool.kernel_size),
        strides=_pair(pool.stride),
        pads=2 * _pair(pool.padding),
        ceil_mode=int(pool.ceil_mode),
        count_include_pad=int(pool.count_include_pad),
    )


def _max_pool(g: Graph, op: Op, pool: nn.MaxPool2d, x: str) -> str:
    return g.add(
        "MaxPool",
        x,
        kernel_shape=_pair(pool.kernel_size),
        strides=_pair(pool.stride),
        pads=2 * _pair(pool.padding),
        ceil_mode=int(pool.ceil_mode),
    )


def _global_pool(g: Graph, op: Op, module: m.GlobalPool, x: str) -> str:
    return g.mean(x)


WRITERS: dict[type[nn.Module], Callable[..., str | tuple[str, ...]]] = {
    nn.Conv2d: _conv,
    m.LearnedGroupConv: _masked_conv,
    m.SparseReactivation: _masked_conv,
    nn.Linear: _linear,
    m.LearnedClassifier: _masked_linear,
    nn.BatchNorm2d: _norm,
    nn.ReLU: _pointwise("Relu"),
    nn.Hardswish: _pointwise("HardSwish"),
    m.SqueezeExcite: _squeeze_excite,
    m.Gather: _gather,
    GatheredAdd: _gathered_add,
    m.Shuffle: _shuffle,
    m.Concat: _concat,
    m.Split: _split,
    m.Add: _add,
    nn.AvgPool2d: _avg_pool,
    nn.MaxPool2d: _max_pool,
    m.GlobalPool: _global_pool,
}
"""How to write each kind of module: ``writer(graph, op, module, *inputs)`` to its outputs."""


@torch.no_grad()
def write_onnx(network: Network, path: Path, *, dynamic_batch: bool = False) -> None:
    """Writes the graph of a network in evaluation mode, its weights inside.

    Args:
        network: In either form, without scatters: see :func:`results.lowered.lowered_for`.
        path: The file to write.
        dynamic_batch: Whether it takes any number of images at once instead of one.

    Raises:
        UserError: a module has no writer, or the weights exceed the two gigabytes of one file.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = Graph()
    values = {network.plan.input.name: INPUT}
    for step in network.plan.steps:
        fragment = network.steps[step.name]
        assert isinstance(fragment, FragmentModule)
        outputs = _write_fragment(graph, step.name, fragment, [values[n] for n in step.inputs])
        values.update(zip(step.outputs, outputs, strict=True))
    graph.nodes.append(helper.make_node("Identity", [values[network.plan.output]], [OUTPUT]))
    batch = "batch" if dynamic_batch else 1
    source = network.plan.input
    image = [batch, source.channels, source.size, source.size]
    proto = helper.make_graph(
        graph.nodes,
        network.spec.id,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch, network.spec.classes])],
        list(graph.constants.values()),
    )
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    try:
        onnx.save(model, path)
    except ValueError as error:  # protobuf's limit
        raise UserError(
            f"the graph of {network.spec.id} cannot be written into one file ({error}); use"
            " --exporter dynamo"
        ) from None


def _write_fragment(
    graph: Graph, step: str, fragment: FragmentModule, inputs: list[str]
) -> list[str]:
    values = {v.name: name for v, name in zip(fragment.fragment.inputs, inputs, strict=True)}
    for op in fragment.fragment.ops:
        module = fragment.get_submodule(op.name)
        writer = WRITERS.get(type(module))
        if writer is None:
            raise UserError(
                f"the direct exporter cannot write {type(module).__name__} ({step}.{op.name});"
                " use --exporter dynamo"
            )
        graph.scope = f"{step}.{op.name}"
        result = writer(graph, op, module, *(values[v.name] for v in op.inputs))
        results = (result,) if isinstance(result, str) else result
        values.update(zip((v.name for v in op.outputs), results, strict=True))
    return [values[v.name] for v in fragment.fragment.outputs]
