"""Kernels as networks of ncnn that compute nothing else: what the guest is told to run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from latency_models.kernels import Kernel

Job = dict[str, Any]
Layer = tuple[str, list[str], list[str], str]
"""Type, blobs read, blobs written, parameters by number (ncnn's wiki, operators)."""

_ELEMENTWISE = {
    "relu": ["ReLU"],
    "hard_swish": ["HardSwish"],
    "sigmoid": ["Sigmoid"],
    "swish": ["Swish"],
    "norm": ["BatchNorm", "ReLU"],
}
"""Layers of an elementwise kernel; a norm stands for itself and the activation after it."""


def side(elements: int, channels: int) -> int:
    """Height and width of a square map."""
    return math.isqrt(elements // channels)


def _conv(k: Kernel) -> list[Layer]:
    settings = (
        f"0={k.out_channels} 1={k.kernel} 3={k.stride} 4={k.kernel // 2} 5=1 6={k.weights} 9=1"
    )
    if k.groups == 1:
        return [("Convolution", ["x"], ["y"], settings)]
    return [("ConvolutionDepthWise", ["x"], ["y"], f"{settings} 7={k.groups}")]


def _linear(k: Kernel) -> list[Layer]:
    return [("InnerProduct", ["x"], ["y"], f"0={k.out_channels} 1=1 2={k.macs}")]


def _elementwise(k: Kernel) -> list[Layer]:
    names = _ELEMENTWISE[k.function]
    blobs = ["x", *(f"x{i}" for i in range(1, len(names))), "y"]
    settings = {"BatchNorm": f"0={k.in_channels}"}
    return [
        (name, [read], [written], settings.get(name, ""))
        for name, read, written in zip(names, blobs, blobs[1:], strict=False)
    ]


def _binary(k: Kernel) -> list[Layer]:
    scales = k.in_elements < 2 * k.out_elements
    return [("BinaryOp", ["x", "z"], ["y"], f"0={2 if scales else 0}")]


def _concat(k: Kernel) -> list[Layer]:
    return [("Concat", [f"x{i}" for i in range(k.parts)], ["y"], "0=0")]


def _sizes(sizes: list[int]) -> str:
    return f"-23300={len(sizes)}," + ",".join(map(str, sizes)) + " 1=0"


def _split(k: Kernel) -> list[Layer]:
    outputs = ["y", *(f"y{i}" for i in range(1, k.parts))]
    return [("Slice", ["x"], outputs, _sizes([k.out_channels // k.parts] * k.parts))]


def _shuffle(k: Kernel) -> list[Layer]:
    return [("ShuffleChannel", ["x"], ["y"], f"0={k.groups}")]


def _gather(k: Kernel) -> list[Layer]:
    """All runs cut by one Slice and joined in another order; each is read at most once, as many as
    there are, then from the start again."""
    block = -(-k.out_channels // k.parts)
    runs = k.in_channels // block
    rng = np.random.default_rng(k.in_channels * 4099 + k.out_channels)
    read = [int(i) for _ in range(-(-k.parts // runs)) for i in rng.permutation(runs)][: k.parts]
    times = {run: read.count(run) for run in range(runs)}
    cuts = [block] * runs + ([k.in_channels - block * runs] if k.in_channels % block else [])
    layers: list[Layer] = [("Slice", ["x"], [f"c{i}" for i in range(len(cuts))], _sizes(cuts))]
    names = {run: [f"c{run}"] * count for run, count in times.items()}
    for run, count in times.items():
        if count > 1:
            names[run] = [f"c{run}_{i}" for i in range(count)]
            layers.append(("Split", [f"c{run}"], list(names[run]), ""))
    joined = [names[run].pop() for run in read]
    return [*layers, ("Concat", joined, ["y"], "0=0")]


def _pool(k: Kernel) -> list[Layer]:
    average = k.function != "max"
    pad = 0 if average else k.kernel // 2
    return [("Pooling", ["x"], ["y"], f"0={int(average)} 1={k.kernel} 2={k.stride} 3={pad} 5=1")]


def _global_pool(k: Kernel) -> list[Layer]:
    return [("Pooling", ["x"], ["y"], "0=1 4=1")]


_LAYERS: dict[str, Callable[[Kernel], list[Layer]]] = {
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


def input_sizes(k: Kernel) -> dict[str, list[int]]:
    """Width, height and channels of what a kernel reads, by name; of a vector its channels."""
    if k.kind == "linear":
        return {"x": [k.in_channels]}
    size = side(k.out_elements if k.kind in ("concat", "binary") else k.in_elements, k.in_channels)
    whole = [size, size, k.in_channels]
    if k.kind == "concat":
        return {f"x{i}": [size, size, k.in_channels // k.parts] for i in range(k.parts)}
    if k.kind == "binary":
        return {"x": whole, "z": whole if k.in_elements == 2 * k.out_elements else [1, 1, whole[2]]}
    return {"x": whole}


def param(layers: list[Layer]) -> str:
    """The text of a ``.param`` file."""
    blobs = {blob for layer in layers for blob in layer[2]}
    lines = [
        " ".join([kind, f"layer{i}", str(len(reads)), str(len(writes)), *reads, *writes, settings])
        for i, (kind, reads, writes, settings) in enumerate(layers)
    ]
    return "\n".join(["7767517", f"{len(layers)} {len(blobs)}", *lines]) + "\n"


def ncnn_job(kernel: Kernel) -> Job:
    """A network that computes the kernel behind ReLUs, whose outputs lie in memory as ncnn packs
    them; images of three channels come from outside as they do in a network."""
    inputs = input_sizes(kernel)
    layers: list[Layer] = []
    from_outside = kernel.in_channels == 3
    for blob in inputs:
        source = blob if from_outside else f"in_{blob}"
        layers.append(("Input", [], [source], ""))
        if not from_outside:
            layers.append(("ReLU", [source], [blob], ""))
    return {
        "param": param([*layers, *_LAYERS[kernel.kind](kernel)]),
        "inputs": {blob if from_outside else f"in_{blob}": shape for blob, shape in inputs.items()},
        "before": [] if from_outside else list(inputs),
        "stages": ["y"],
    }
