"""Kernels as ONNX files that compute nothing else: what the guest is told to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from latency_models.counting.ncnn_jobs import Job, input_sizes, side
from latency_models.kernels import Kernel

OPSET, IR_VERSION = 18, 10
_ELEMENTWISE = {
    "relu": ["Relu"],
    "hard_swish": ["HardSwish"],
    "sigmoid": ["Sigmoid"],
    "norm": ["BatchNormalization", "Relu"],
}


class _Model:
    """A chain of ONNX nodes that begins with the inputs."""

    def __init__(self, shapes: dict[str, list[int]]) -> None:
        self.shapes = shapes
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.last = next(iter(shapes))

    def constant(self, values: object, dtype: str = "float32") -> str:
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, kind: str, *others: str, outputs: int = 1, **attributes: Any) -> None:
        """A node that reads what the last one wrote, and other values."""
        from onnx import helper

        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, [self.last, *others], names, **attributes))
        self.last = names[0]

    def save(self, path: Path) -> None:
        import onnx
        from onnx import TensorProto, helper

        described = helper.make_tensor_value_info
        inputs = [described(n, TensorProto.FLOAT, s) for n, s in self.shapes.items()]
        outputs = [described(n, TensorProto.FLOAT, None) for n in self.nodes[-1].output]
        graph = helper.make_graph(self.nodes, "kernel", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), path)


def _conv(m: _Model, k: Kernel) -> None:
    shape = (k.out_channels, k.in_channels // k.groups, k.kernel, k.kernel)
    weight = m.constant(np.full(shape, 0.01))
    window: dict[str, Any] = {
        "kernel_shape": [k.kernel] * 2,
        "strides": [k.stride] * 2,
        "pads": [k.kernel // 2] * 4,
    }
    m.add("Conv", weight, m.constant(np.zeros(k.out_channels)), group=k.groups, **window)
    m.add("Relu")


def _linear(m: _Model, k: Kernel) -> None:
    weight = m.constant(np.full((k.out_channels, k.in_channels), 0.01))
    m.add("Gemm", weight, m.constant(np.zeros(k.out_channels)), transB=1)


def _elementwise(m: _Model, k: Kernel) -> None:
    if k.function == "swish":
        x = m.last
        m.add("Sigmoid")
        m.add("Mul", x)
        return
    for kind in _ELEMENTWISE[k.function]:
        ones = [m.constant(np.full(k.in_channels, v)) for v in (0.9, 0.1, 0.0, 1.0)]
        m.add(kind, *(ones if kind == "BatchNormalization" else ()))


def _binary(m: _Model, k: Kernel) -> None:
    m.add("Mul" if k.in_elements < 2 * k.out_elements else "Add", "z")


def _concat(m: _Model, k: Kernel) -> None:
    m.add("Concat", *list(m.shapes)[1:], axis=1)


def _split(m: _Model, k: Kernel) -> None:
    m.add("Split", outputs=k.parts, axis=1, num_outputs=k.parts)


def _shuffle(m: _Model, k: Kernel) -> None:
    size = side(k.in_elements, k.in_channels)
    grouped = [0, k.groups, k.in_channels // k.groups, size * size]
    m.add("Reshape", m.constant(grouped, "int64"))
    m.add("Transpose", perm=[0, 2, 1, 3])
    m.add("Reshape", m.constant([0, k.in_channels, size, size], "int64"))


def _gather(m: _Model, k: Kernel) -> None:
    index = np.random.default_rng(k.in_channels).integers(0, k.in_channels, k.out_channels)
    m.add("Gather", m.constant(index, "int64"), axis=1)


def _pool(m: _Model, k: Kernel) -> None:
    window: dict[str, Any] = {"kernel_shape": [k.kernel] * 2, "strides": [k.stride] * 2}
    if k.function == "max":
        m.add("MaxPool", **window, pads=[k.kernel // 2] * 4)
    else:
        m.add("AveragePool", **window)


def _global_pool(m: _Model, k: Kernel) -> None:
    m.add("GlobalAveragePool")


_WRITERS: dict[str, Callable[[_Model, Kernel], None]] = {
    **dict.fromkeys(("conv", "pointwise", "grouped_conv", "grouped_pointwise", "depthwise"), _conv),
    "linear": _linear,
    "elementwise": _elementwise,
    "binary": _binary,
    "concat": _concat,
    "split": _split,
    "shuffle": _shuffle,
    "gather": _gather,
    "pool": _pool,
    "global_pool": _global_pool,
}


def _shapes(k: Kernel) -> dict[str, list[int]]:
    """Of what the kernel reads, ``(1, channels, height, width)`` or ``(1, channels)``."""
    return {name: [1, *reversed(size)] for name, size in input_sizes(k).items()}


def onnx_job(kernel: Kernel, path: Path) -> Job:
    """A file that computes the kernel, and its inputs."""
    model = _Model(_shapes(kernel))
    _WRITERS[kernel.kind](model, kernel)
    model.save(path)
    return {"model": str(path), "inputs": model.shapes}


def nothing_job(path: Path) -> Job:
    """A file that computes next to nothing: what an inference costs beside its kernels."""
    model = _Model({"x": [1, 1]})
    model.add("Relu")
    model.save(path)
    return {"model": str(path), "inputs": model.shapes}
