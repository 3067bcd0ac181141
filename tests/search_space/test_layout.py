from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from search_space.folding import dense_convs
from search_space.graph import Graph
from search_space.layout import (
    compose_gathers,
    fold_columns,
    gather_inputs,
    merge_groups,
    norms_as_convs,
    pool_early,
    regroup,
    repeat_gates,
    separate_groups,
)

Applied = Callable[..., Graph]


def kinds(graph: Graph) -> list[str]:
    return [n.kind for n in graph.nodes[1:]]


def test_pooling_moves_in_front_of_all_that_is_linear(sketch: Any, applied: Applied) -> None:
    s = sketch()
    a, b = s.conv("x", 4, 3), s.relu("x")
    y = s.add("concat", s.add("add", a, b), a, b, channels=12)
    y = s.pool(s.conv(y, 6, bias=True))
    after = applied(pool_early, s.graph(y))
    assert set(kinds(after)[2:4]) == {"avg_pool"}
    assert after.makers[after.output].kind == "conv"
    assert after.macs < s.graph(y).macs


def test_pooling_stays_behind_an_activation_and_what_others_read(
    sketch: Any, applied: Applied
) -> None:
    s = sketch()
    y = s.conv("x", 4, activation="relu")
    assert kinds(applied(pool_early, s.graph(s.pool(y)))) == ["conv", "avg_pool"]
    y = s.conv("x", 4)
    half = s.pool(y)
    other = s.pool(s.relu(y))
    graph = s.graph(s.add("add", half, other))
    assert applied(pool_early, graph).nodes[-1].kind == "add"


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("pointwise", [False, True])
def test_two_columns_become_channels(
    normed: bool, pointwise: bool, sketch: Any, applied: Applied
) -> None:
    s = sketch(channels=2)
    y = s.conv("x", 4, 3, groups=2, bias=True)
    y = s.pool(s.affine(y, activation="relu") if normed else y)
    y = s.conv(y, 6) if pointwise else s.relu(y)
    images = applied(fold_columns(16), s.graph(y), again=False)
    assert images.nodes[1].kernel == (3, 4)
    assert images.nodes[1].shape == (8, 8, 4)
    assert kinds(applied(fold_columns(7), s.graph(y))) == kinds(s.graph(y)), "wide enough"


def test_merged_groups_are_blocks_on_a_diagonal(sketch: Any, applied: Applied) -> None:
    weight = np.arange(1.0, 9.0).reshape(4, 2, 1, 1)
    assert regroup(weight, 2, 1)[:, :, 0, 0].tolist() == [
        [1, 2, 0, 0],
        [3, 4, 0, 0],
        [0, 0, 5, 6],
        [0, 0, 7, 8],
    ]
    s = sketch(channels=16)
    y = s.conv("x", 16, 3, groups=8)
    after = applied(merge_groups(4), s.graph(y))
    assert after.nodes[1].groups == 4
    assert applied(merge_groups(5), s.graph(y)).nodes[1].groups == 1


def test_depthwise_convolutions_keep_their_groups(sketch: Any, applied: Applied) -> None:
    s = sketch(channels=16)
    assert applied(merge_groups(8), s.graph(s.conv("x", 16, 3, groups=16))).nodes[1].groups == 16


@pytest.mark.parametrize("groups", [1, 2])
def test_a_dense_layer_reads_what_its_groups_use_where_that_pays(
    groups: int, sketch: Any, applied: Applied
) -> None:
    s = sketch()
    y = s.indexed("gather", "x", index=[3, 1], channels=2)
    y = s.conv(y, 6, groups=groups, bias=True, activation="relu")
    if groups > 1:
        y = s.add("shuffle", y, groups=groups)
    dense = dense_convs(s.graph(y))
    assert kinds(dense) == ["conv"]
    after = applied(gather_inputs(2.0), dense)
    assert kinds(after) == ["gather", "conv", "gather"][: groups + 1]
    assert after.macs == s.graph(y).macs
    assert kinds(applied(gather_inputs(3.0), dense)) == ["conv"], "4 x 6 / (4 + 6) is less"


@pytest.mark.parametrize(("index", "gathers"), [([4, 5, 0, 1], True), ([3, 4, 0, 1], False)])
def test_channels_may_have_to_be_read_in_whole_blocks(
    index: list[int], gathers: bool, sketch: Any, applied: Applied
) -> None:
    s = sketch(channels=6)
    y = s.indexed("gather", "x", index=index, channels=4)
    dense = dense_convs(s.graph(s.add("shuffle", s.conv(y, 4, groups=2), groups=2)))
    assert "gather" in kinds(applied(gather_inputs(0.0), dense))
    assert ("gather" in kinds(applied(gather_inputs(0.0, block=2), dense))) is gathers


def test_a_group_that_uses_less_than_another_reads_zeros(sketch: Any, applied: Applied) -> None:
    s = sketch()
    y = s.conv("x", 4, learned_groups=2)
    weight = s.nodes[y].tensors["weight"]
    weight[0::2, 1:] = 0
    weight[1::2, :1] = 0
    after = applied(gather_inputs(0.0), s.graph(y))
    assert after.nodes[1].tensors["index"].tolist() == [0, 1, 2, 1, 2, 3]


def test_moves_of_moves_are_one_gather(sketch: Any, applied: Applied) -> None:
    s = sketch(channels=8)
    y = s.add("shuffle", "x", groups=2)
    y = s.add("slice", y, start=2, channels=4)
    y = s.indexed("gather", y, index=[0, 0, 3], channels=3)
    after = applied(compose_gathers, s.graph(y))
    assert kinds(after) == ["gather"]
    assert after.nodes[1].tensors["index"].tolist() == [1, 1, 6]


def test_norms_are_depthwise_and_gates_repeated_on_maps(sketch: Any, applied: Applied) -> None:
    s = sketch()
    graph = s.graph(s.squeeze_excite(s.affine("x", activation="hard_swish")))
    assert kinds(applied(norms_as_convs, graph)) == ["conv", "squeeze_excite"]
    assert applied(repeat_gates, graph).nodes[-1].repeats_gate


@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_narrow_groups_are_filters_and_sums(
    each: int, activation: str | None, sketch: Any, applied: Applied
) -> None:
    s = sketch(channels=16)
    y = s.conv("x", 4 * each, 3, groups=4, bias=True, activation=activation)
    after = applied(separate_groups(16, 1.0), s.graph(y))
    convs = [n for n in after.nodes if n.kind == "conv"]
    assert [n.groups for n in convs] == [16] * each + [1] * each
    assert after.macs == each * 16 * (9 + 4 * each) * 64


@pytest.mark.parametrize(("channels", "kernel", "groups"), [(64, 3, 4), (4, 1, 4), (4, 3, 1)])
def test_wide_groups_are_not_separated(
    channels: int, kernel: int, groups: int, sketch: Any, applied: Applied
) -> None:
    s = sketch(channels=16)
    graph = s.graph(s.conv("x", channels, kernel, groups))
    assert kinds(applied(separate_groups(16, 1.0), graph)) == ["conv"]
