"""Several ONNX operations as one, and look-alikes that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from latency_models.onnx_graph import OnnxGraph
from latency_models.onnx_patterns import joined, runs

Read = Callable[..., OnnxGraph]
SHUFFLE = (
    "a = Constant<value_ints=[1, 2, 2, 8, 8]>() r = Reshape(x, a) t = Transpose<perm={perm}>(r)"
    " b = Constant<value_ints=[1, 4, 8, 8]>() y = Reshape(t, b)"
)
NUMBERS = {
    "three": np.float32(3),
    "six": np.float32(6),
    "zero": np.float32(0),
    "half": np.float32(0.5),
    "root": np.float32(2**0.5),
    "one": np.float32(1),
}


def ops(graph: OnnxGraph) -> list[str]:
    return [node.op for node in joined(graph).nodes]


def test_a_shuffle_is_one_operation(read: Read) -> None:
    (node,) = joined(read(SHUFFLE.format(perm=[0, 2, 1, 3, 4]))).nodes
    assert (node.op, node.reads, node.writes) == ("Shuffle", ("x",), ("y",))
    assert node.attributes == {"groups": 2}


def test_another_transposition_is_none(read: Read) -> None:
    assert ops(read(SHUFFLE.format(perm=[0, 1, 2, 4, 3]))) == ["Reshape", "Transpose", "Reshape"]


@pytest.mark.parametrize(
    ("body", "op"),
    [
        ("s = Sigmoid(x) y = Mul(x, s)", "Swish"),
        ("s = HardSigmoid(x) y = Mul(s, x)", "HardSwish"),
        ("a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)", "HardSwish"),
        ("a = Add(x, three) c = Clip(a, zero, six) d = Div(c, six) y = Mul(x, d)", "HardSwish"),
        ("s = Softplus(x) t = Tanh(s) y = Mul(x, t)", "Swish"),
        (
            "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
            "Swish",
        ),
        (
            "h = Mul(x, half) d = Div(x, root) e = Erf(d) a = Add(e, one) y = Mul(h, a)",
            "Swish",
        ),
    ],
)
def test_a_gated_activation_is_one_operation(body: str, op: str, read: Read) -> None:
    (node,) = joined(read(body, **NUMBERS)).nodes
    assert (node.op, node.reads, node.writes) == (op, ("x",), ("y",))


@pytest.mark.parametrize(
    "body",
    [
        "y = Mul(x, x)",
        "g = GlobalAveragePool(x) s = Sigmoid(g) y = Mul(x, s)",
        "s = Sigmoid(x) m = Mul(x, s) y = Add(m, s)",
    ],
)
def test_other_products_stay(body: str, read: Read) -> None:
    assert "Mul" in ops(read(body))


def test_a_scale_per_channel_is_no_part_of_a_gate(read: Read) -> None:
    scale = np.ones((4, 1, 1), np.float32)
    assert ops(read("s = Sigmoid(x) m = Mul(x, s) y = Mul(m, scale)", scale=scale)) == [
        "Swish",
        "Mul",
    ]


def test_a_bias_belongs_to_its_product(read: Read) -> None:
    given = {"w": np.ones((256, 5), np.float32), "b": np.ones(5, np.float32)}
    graph = joined(read("f = Flatten(x) p = MatMul(f, w) y = Add(b, p)", **given))
    assert [node.op for node in graph.nodes] == ["Flatten", "MatMul"]
    assert graph.nodes[1].arguments == ("f", "w", "b")
    assert graph.nodes[1].writes == ("y",)


# --- Channels added where an index says -----------------------------------------------------------

PAD = "p = Pad(i, pads) "
ADDED: dict[str, Any] = {
    "pads": np.array([0, 0, 0, 0, 0, 1, 0, 0]),
    "first": np.array([4, 0, 1, 4, 3, 4]),
    "second": np.array([4, 4, 4, 4, 4, 2]),
    "wide": np.ones((6, 4, 1, 1), np.float32),
}


@pytest.mark.parametrize(
    ("body", "last", "reads", "parts"),
    [
        (f"i = Relu(x) {PAD} y = Gather<axis=1>(p, first)", "Scatter", ["i"], 2),
        (
            f"i = Relu(x) b = Conv(x, wide) {PAD} g = Gather<axis=1>(p, first) y = Add(b, g)",
            "IndexAdd",
            ["b", "i"],
            2,
        ),
        (
            f"i = Relu(x) b = Conv(x, wide) {PAD} g = Gather<axis=1>(p, first) a = Add(g, b)"
            " h = Gather<axis=1>(p, second) y = Add(a, h)",
            "IndexAdd",
            ["b", "i"],
            3,
        ),
        (
            f"i = Relu(x) {PAD} g = Gather<axis=1>(p, first) h = Gather<axis=1>(p, second)"
            " y = Add(g, h)",
            "Scatter",
            ["i"],
            3,
        ),
    ],
)
def test_padding_and_gathers_are_an_index_add(
    body: str, last: str, reads: list[str], parts: int, read: Read
) -> None:
    graph = joined(read(body, **ADDED))
    node = graph.nodes[-1]
    assert (node.op, list(node.reads), node.writes) == (last, reads, ("y",))
    assert node.attributes == {"parts": parts}
    assert {other.op for other in graph.nodes[:-1]} <= {"Relu", "Conv"}


def test_a_padding_that_others_read_stays(read: Read) -> None:
    body = f"i = Relu(x) {PAD} g = Gather<axis=1>(p, index) y = Mul(p, g)"
    index = np.array([4, 0, 1, 4, 3])
    assert ops(read(body, pads=ADDED["pads"], index=index)) == ["Relu", "Pad", "Scatter", "Mul"]


@pytest.mark.parametrize(
    ("index", "expected"), [([], 0), ([3], 1), ([0, 1, 2], 1), ([0, 2, 3, 1], 3), ([1, 1], 2)]
)
def test_runs_of_neighbours_are_counted(index: list[int], expected: int) -> None:
    assert runs(np.array(index, dtype=np.int64)) == expected


# --- Splits --------------------------------------------------------------------------------------

BOUNDS: dict[str, Any] = {f"at{i}": np.array([i]) for i in range(5)}


def test_slices_of_the_channels_are_one_split(read: Read) -> None:
    graph = joined(
        read(
            "a = Slice(x, at0, at1, at1) b = Slice(x, at1, at4, at1) y = Concat<axis=1>(b, a)",
            **BOUNDS,
        )
    )
    split, concat = graph.nodes
    assert (split.op, split.reads, split.writes) == ("Split", ("x",), ("a", "b"))
    assert concat.reads == ("b", "a")


@pytest.mark.parametrize("arguments", ["at0, at2, at3", "at0, at4, at1, at2"])
def test_crops_and_strided_slices_are_none(arguments: str, read: Read) -> None:
    assert ops(read(f"y = Slice(x, {arguments})", **BOUNDS)) == ["Slice"]
