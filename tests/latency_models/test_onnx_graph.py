"""Who writes and reads the values of an ONNX network."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from latency_models.onnx_graph import OnnxGraph
from search_space.errors import UserError

Read = Callable[..., OnnxGraph]


def test_makers_readers_and_elements(read: Read) -> None:
    graph = read("a = Relu(x) b = Add(a, a) y = Sigmoid(b)")
    relu, add, sigmoid = graph.nodes
    assert (graph.makers["a"], graph.makers["y"]) == (relu, sigmoid)
    assert graph.readers["a"] == [add, add]
    assert [graph.read_once(name) for name in "aby"] == [False, True, False]
    assert graph.elements("a") == 256
    assert graph.with_nodes([relu]).nodes == (relu,)


def test_an_unknown_shape_is_told_with_the_operation(read: Read) -> None:
    graph = read("p = own.Mystery(x) y = Relu(p)")
    assert graph.nodes[0].op == "own.Mystery"
    with pytest.raises(UserError, match=r"the shape of 'p', which own\.Mystery writes"):
        graph.shape("p")
