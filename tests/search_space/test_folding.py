from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from search_space.folding import dense_convs, dense_linears, fold_norms, fuse_activations
from search_space.graph import Graph, Rule, Shape

Applied = Callable[[Rule, Graph], Graph]


def kinds(graph: Graph) -> list[str]:
    return [n.kind for n in graph.nodes[1:]]


def learned(s: Any, groups: int, *, alike: bool = True) -> Graph:
    """Gather, norm, activation, grouped convolution, shuffle, and a grouped 3x3 behind it."""
    index = [0, 3, 1, 3, 2, 0]
    y = s.indexed("gather", "x", index=index, channels=6)
    y = s.affine(y)
    if alike:
        for values in s.nodes[y].tensors.values():
            values[[3, 5]] = values[[1, 0]]
    y = s.conv(s.relu(y), 6, groups=groups, bias=True)
    if groups > 1:
        y = s.add("shuffle", y, groups=groups)
    return s.graph(s.conv(s.relu(s.affine(y)), 4, 3, groups=2))


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_a_learned_convolution_becomes_dense(groups: int, sketch: Any, applied: Applied) -> None:
    graph = learned(sketch(), groups)
    after = applied(dense_convs, graph)
    assert kinds(after) == ["affine", "activation", "conv", "affine", "activation", "conv"]
    dense = next(n for n in after.nodes if n.kind == "conv")
    assert (dense.groups, dense.learned_groups) == (1, groups)
    assert dense.tensors["weight"].shape == (6, 4, 1, 1)
    rows = dense.tensors["weight"][0::groups].any((0, 2, 3))
    assert rows.sum() <= 6 // groups, "a group reads what it read"


def test_copies_of_a_channel_that_are_normed_differently_stay(
    sketch: Any, applied: Applied
) -> None:
    graph = learned(sketch(), 2, alike=False)
    assert kinds(applied(dense_convs, graph)) == kinds(graph)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("adding", ["index_add", "scatter"])
def test_a_reactivation_becomes_dense(
    groups: int, kernel: int, adding: str, sketch: Any, applied: Applied
) -> None:
    s = sketch()
    new = s.relu(s.conv("x", 4, 3))
    y = s.add("shuffle", new, groups=4 // groups) if groups in (1, 2) else new
    y = s.conv(y, 8, kernel, groups=groups, bias=True)
    inputs = (y,) if adding == "scatter" else ("x", y)
    y = s.indexed(adding, *inputs, index=[0, 1, 3, 2, 0, 3, 2, 1], channels=4)
    after = applied(dense_convs, s.graph(y))
    rest = ["conv"] if adding == "scatter" else ["conv", "add"]
    assert kinds(after) == ["conv", "activation", *rest]
    assert after.nodes[3].tensors["weight"].shape == (4, 4, kernel, kernel)


def test_a_sum_of_activated_outputs_is_left_alone(sketch: Any, applied: Applied) -> None:
    s = sketch()
    y = s.conv("x", 4, groups=2, activation="relu")
    graph = s.graph(s.indexed("index_add", "x", y, index=[0, 0, 1, 2], channels=4))
    assert kinds(applied(dense_convs, graph)) == ["conv", "index_add"]


def test_ordinary_convolutions_and_shuffles_are_left_alone(sketch: Any, applied: Applied) -> None:
    s = sketch()
    y = s.add("shuffle", s.conv("x", 4, 3, groups=2), groups=2)
    graph = s.graph(s.conv(y, 4, groups=2))
    assert kinds(applied(dense_convs, graph)) == ["conv", "shuffle", "conv"]


def test_a_gather_in_front_of_a_classifier_becomes_zeros(sketch: Any, applied: Applied) -> None:
    s = sketch()
    x = s.add("global_pool", "x", shape=Shape(4))
    x = s.indexed("gather", x, index=[3, 1], channels=2)
    x = s.add("linear", x, channels=5, tensors={"weight": s.rng.standard_normal((5, 2))})
    after = applied(dense_linears, s.graph(x))
    assert kinds(after) == ["global_pool", "linear"]
    assert np.flatnonzero(after.nodes[-1].tensors["weight"].any(0)).tolist() == [1, 3]


def test_norms_and_activations_behind_a_convolution_are_fused(
    sketch: Any, applied: Applied
) -> None:
    s = sketch()
    y = s.relu(s.affine(s.affine(s.conv("x", 6, 3, groups=2, bias=True))))
    folded = applied(fold_norms, s.graph(y))
    assert kinds(folded) == ["conv", "activation"]
    fused = applied(fuse_activations, folded)
    assert kinds(fused) == ["conv"]
    assert fused.nodes[1].activation == "relu"


def test_what_something_else_reads_too_is_not_folded(sketch: Any, applied: Applied) -> None:
    s = sketch()
    y = s.conv("x", 4)
    graph = s.graph(s.add("add", y, s.relu(s.affine(y))))
    assert kinds(applied(fold_norms, graph)) == ["conv", "affine", "activation", "add"]
    before = s.relu(y)
    graph = s.graph(s.affine(before))
    assert kinds(applied(fold_norms, graph))[-1] == "affine", "behind an activation"
