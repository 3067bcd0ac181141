from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from search_space.deployed import RUN, Deployed, FastDeployed, Place, places
from search_space.graph import Graph, Shape

Computed = Callable[[Graph, Graph], None]
IMAGES = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def test_an_index_add_adds_repeated_channels(sketch: Any) -> None:
    s = sketch()
    y = s.conv("x", 6)
    graph = s.graph(s.indexed("index_add", "x", y, index=[3, 0, 3, 1, 0, 3], channels=4))
    deployed = Deployed(graph)
    weight = torch.tensor(s.nodes[y].tensors["weight"], dtype=torch.float32)
    index = torch.tensor([3, 0, 3, 1, 0, 3])
    expected = IMAGES.index_add(1, index, torch.conv2d(IMAGES, weight))
    torch.testing.assert_close(deployed(IMAGES), expected)


def test_concatenated_values_live_in_one_memory(sketch: Any) -> None:
    s = sketch()
    a = s.conv("x", 4)
    b = s.conv(s.relu(a), 2, 3)
    total = s.add("add", a, s.conv(b, 4))
    c = s.add("concat", total, b, channels=6)
    found = places(s.graph(s.relu(c)))
    assert found == {c: Place(c, 0), total: Place(c, 0), a: Place(c, 0), b: Place(c, 4)}


def test_a_value_that_is_read_later_is_not_overwritten(sketch: Any, computed: Computed) -> None:
    s = sketch()
    a, b = s.conv("x", 4), s.conv("x", 4)
    both = s.add("concat", a, b, channels=8)
    total = s.add("add", both, s.conv(s.relu(both), 8))
    late = s.conv(a, 2)  # lives in the memory that the sum would overwrite
    graph = s.graph(s.add("concat", total, late, channels=10))
    assert both not in places(graph) or places(graph)[both].buffer == both
    computed(graph, graph)


def test_a_value_that_two_concatenations_want_is_copied(sketch: Any, computed: Computed) -> None:
    s = sketch()
    a, b = s.conv("x", 4), s.conv("x", 3)
    one, two = s.add("concat", a, b, channels=7), s.add("concat", b, a, a, channels=11)
    graph = s.graph(s.add("concat", one, two, "x", channels=22))
    computed(graph, graph)


def test_every_kind_is_computed_for_any_number_of_images(sketch: Any, computed: Computed) -> None:
    s = sketch()
    y = s.squeeze_excite(s.affine(s.conv("x", 8, 3, groups=2, stride=(1, 1), bias=True)))
    y = s.add("slice", s.add("shuffle", y, groups=4), start=1, channels=6)
    y = s.add("concat", y, s.indexed("gather", y, index=[0, 0], channels=2), channels=8)
    y = s.indexed(
        "scatter",
        s.indexed("index_add", y, "x", index=[7, 7, 0, 1], channels=8),
        index=[0, 1, 2, 2, 1, 0, 3, 3],
        channels=6,
    )
    y = s.add("add", y, s.relu(y), y)
    y = s.add("max_pool", y, shape=Shape(6, 4, 4), kernel=(3, 3), stride=(2, 2), padding=(1, 1))
    flat = s.add("flatten", s.pool(y), shape=Shape(24))
    pooled = s.add("global_pool", y, shape=Shape(6))
    z = s.squeeze_excite(s.add("concat", flat, pooled, channels=30))
    z = s.add("linear", z, channels=3, tensors={"weight": s.rng.standard_normal((3, 30))})
    graph = s.graph(z)
    assert {n.kind for n in graph.nodes} == {"input", *RUN}
    computed(graph, graph)
    one, all_ = Deployed(graph)(IMAGES[:1]), FastDeployed(graph)(IMAGES)
    torch.testing.assert_close(one, all_[:1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("module", [Deployed, FastDeployed])
def test_images_are_left_as_they_were(module: type, sketch: Any) -> None:
    s = sketch()
    y = s.add("add", "x", s.conv(s.relu("x"), 4))
    graph = s.graph(s.add("concat", "x", s.add("activation", y, activation="relu"), channels=8))
    before = IMAGES.clone()
    module(graph)(IMAGES)
    assert torch.equal(IMAGES, before)


def test_a_sum_is_formed_when_it_is_due(sketch: Any, computed: Computed) -> None:
    s = sketch()
    a = s.conv("x", 4)
    increment = s.conv(s.relu("x"), 4)
    before = s.conv(a, 2, 3)  # reads what the sum overwrites, after its increment is known
    total = s.add("add", a, increment)
    graph = s.graph(s.add("concat", total, before, channels=6))
    assert places(graph)[a] == places(graph)[total]
    computed(graph, graph)
