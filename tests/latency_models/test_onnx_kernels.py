"""Kernels of ONNX files: by hand, and of our own networks as the plan has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.kernels import Kernel, network_kernels
from latency_models.onnx_graph import OnnxGraph
from latency_models.onnx_kernels import CALLS, graph_kernels, onnx_kernels
from results.onnx_graph import write_onnx
from search_space import ZOO, build
from search_space.flatten import flatten

Read = Callable[..., OnnxGraph]


def weight(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def kinds(graph: OnnxGraph) -> list[str]:
    return [kernel.kind for kernel in graph_kernels(graph)]


@pytest.mark.parametrize(
    ("body", "kind", "shape", "macs"),
    [
        ("y = Conv<pads=[1, 1, 1, 1]>(x, w)", "conv", (6, 4, 3, 3), 6 * 4 * 9 * 64),
        ("y = Conv<pads=[0, 1, 0, 1]>(x, w)", "conv", (6, 4, 1, 3), 6 * 4 * 3 * 64),
        ("y = Conv(x, w)", "pointwise", (6, 4, 1, 1), 6 * 4 * 64),
        ("y = Conv<group=2>(x, w)", "grouped_pointwise", (6, 2, 1, 1), 6 * 2 * 64),
        ("y = Conv<group=2, pads=[1, 1, 1, 1]>(x, w)", "grouped_conv", (6, 2, 3, 3), 6 * 18 * 64),
        ("y = Conv<group=4, strides=[2, 2]>(x, w)", "depthwise", (4, 1, 2, 2), 4 * 4 * 16),
        ("g = GlobalAveragePool(x) y = Conv(g, w)", "linear", (6, 4, 1, 1), 6 * 4),
        ("f = Flatten(x) y = Gemm<transB=1>(f, w)", "linear", (5, 256), 5 * 256),
        ("f = Flatten(x) y = Gemm(f, w)", "linear", (256, 5), 5 * 256),
        ("y = MatMul(x, w)", "linear", (8, 5), 4 * 8 * 8 * 5),
        ("y = MatMul(w, x)", "linear", (5, 8), 4 * 8 * 8 * 5),
    ],
)
def test_kernels_that_multiply(
    body: str, kind: str, shape: tuple[int, ...], macs: int, read: Read
) -> None:
    found = graph_kernels(read(body, w=weight(*shape)))[-1]
    assert (found.kind, found.macs, found.weights) == (kind, macs, np.prod(shape))


def test_every_field_of_a_convolution(read: Read) -> None:
    body = "y = Conv<group=2, strides=[2, 2], pads=[1, 1, 1, 1]>(x, w, b)"
    assert graph_kernels(read(body, w=weight(6, 2, 3, 3), b=weight(6))) == (
        Kernel(
            kind="grouped_conv",
            in_channels=4,
            out_channels=6,
            in_elements=256,
            out_elements=96,
            macs=6 * 18 * 16,
            weights=6 * 18,
            kernel=3,
            stride=2,
            groups=2,
        ),
    )


def test_norm_and_activation_fold(read: Read) -> None:
    norm = {"w": weight(6, 4, 1, 1), "v": weight(6)}
    body = "c = Conv(x, w) n = BatchNormalization(c, v, v, v, v) {} y = Mul(n, s)"
    assert kinds(read(body.format("s = Sigmoid(n)"), **norm)) == ["pointwise"]
    assert kinds(read(body.format("s = GlobalAveragePool(n)"), **norm)) == [
        "pointwise",
        "global_pool",
        "binary",
    ]


def test_views_hide_nothing_and_cost_nothing(read: Read) -> None:
    body = "c = Conv(x, w) d = Dropout(c) f = Flatten(d) i = Identity(f) y = Relu(i)"
    assert kinds(read(body, w=weight(6, 4, 1, 1))) == ["pointwise"]


@pytest.mark.parametrize(
    ("body", "kind", "fields"),
    [
        ("y = Relu(x)", "elementwise", {"function": "relu"}),
        ("y = HardSwish(x)", "elementwise", {"function": "hard_swish"}),
        ("y = Sigmoid(x)", "elementwise", {"function": "sigmoid"}),
        ("s = Sigmoid(x) y = Mul(x, s)", "elementwise", {"function": "swish"}),
        ("y = Mul(x, scale)", "elementwise", {"function": "norm"}),
        ("y = Add(x, x)", "binary", {"in_elements": 512}),
        (
            "y = Concat<axis=1>(x, x, x)",
            "concat",
            {"parts": 3, "in_channels": 12, "in_elements": 768},
        ),
        ("y, z = Split<axis=1, num_outputs=2>(x)", "split", {"parts": 2, "out_channels": 4}),
        ("y = Gather<axis=1>(x, index)", "gather", {"parts": 2, "out_channels": 3}),
        ("y = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)", "pool", {"kernel": 2, "stride": 2}),
        ("y = GlobalAveragePool(x)", "global_pool", {"out_elements": 4, "kernel": 8}),
        ("y = ReduceMean<keepdims=0>(x, space)", "global_pool", {"out_elements": 4, "kernel": 8}),
        ("y = Transpose<perm=[0, 2, 3, 1]>(x)", "other", {"function": ""}),
    ],
)
def test_kernels_that_move(body: str, kind: str, fields: dict[str, Any], read: Read) -> None:
    constants = {
        "index": np.array([2, 0, 1]),
        "space": np.array([-1, -2]),
        "scale": weight(4, 1, 1),
    }
    (found,) = graph_kernels(read(body, **constants))
    expected = {"in_channels": 4, "in_elements": 256, "macs": 0, **fields}
    assert found.kind == kind
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("y = CumSum(x, axis)", "CumSum"),
        ("y = ReduceMean(x, axis)", "ReduceMean"),
        ("y = Gather<axis=2>(x, axis)", "Gather"),
        ("t = Transpose<perm=[0, 1, 3, 2]>(x) y = MatMul(x, t)", "MatMul"),
        ("r = RandomNormal<shape=[1, 4, 8, 8]>() y = Add(x, r)", "RandomNormal"),
    ],
)
def test_what_is_not_known_is_named(body: str, name: str, read: Read) -> None:
    found = graph_kernels(read(body, axis=np.array(1)))
    assert [k.function for k in found if k.is_unknown] == [name]


# --- Our own networks -----------------------------------------------------------------------------


def compared(kernel: Kernel) -> tuple[object, ...]:
    """All but the pieces of channels (known at the worst, or as they are), a pool's window, and
    weights, among which are biases that norms became."""
    fields = ("kind", "in_channels", "out_channels", "in_elements", "out_elements", "macs")
    rest = ("stride", "groups", "function")
    return tuple(getattr(kernel, name) for name in (*fields, *rest))


@pytest.mark.parametrize(
    "name",
    [
        "condensenet-86",
        "condensenetv2-a",
        "sfr-shufflenetv2plus-s",
        "sparsenet-bc-100-k12",
        "densenet-40-k12",
        "sparsenet-121",
    ],
)
def test_our_networks_have_the_kernels_of_their_plan(name: str, tmp_path: Path) -> None:
    spec = ZOO[name]
    path = tmp_path / "network.onnx"
    write_onnx(flatten(build(spec, "condensed").eval()), path, name=name)
    found, expected = onnx_kernels(path), tuple(network_kernels(spec))
    assert [compared(k) for k in found] == [compared(k) for k in expected]
    assert all(0 < k.parts <= max(e.parts, 1) for k, e in zip(found, expected, strict=True))


def test_of_sums_only_the_additions_differ_for_onnx_adds_two_at_a_time(tmp_path: Path) -> None:
    spec = ZOO["sparsenet-sum-56"]
    path = tmp_path / "network.onnx"
    write_onnx(flatten(build(spec, "condensed").eval()), path, name="sums")
    found, expected = (
        Counter(compared(k) for k in kernels if k.kind != "binary")
        for kernels in (onnx_kernels(path), network_kernels(spec))
    )
    # The plan, folded step by step, keeps the first norm apart from the stem's convolution.
    assert not found - expected
    assert [kernel[0] for kernel in expected - found] == ["elementwise"]


def test_operations_have_onnx_names_or_those_of_patterns() -> None:
    import onnx

    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert set(CALLS) - known <= {"Shuffle", "IndexAdd", "Scatter", "Swish"}
