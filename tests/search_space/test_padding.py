from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from search_space.graph import Graph, Shape
from search_space.padding import pad_channels


@pytest.fixture
def padded(computed: Callable[..., None]) -> Callable[[Graph], Graph]:
    """The graph in blocks of 4, having computed that it is the same."""

    def pad(graph: Graph) -> Graph:
        after = pad_channels(4)(graph)
        computed(graph, after)
        return after

    return pad


def logits(s: Any, x: str) -> Graph:
    pooled = s.add("global_pool", x, shape=Shape(s.nodes[x].shape.channels))
    weight = s.rng.standard_normal((5, s.nodes[x].shape.channels))
    return s.graph(s.add("linear", pooled, channels=5, tensors={"weight": weight}))


def test_concatenations_are_whole_blocks(sketch: Any, padded: Callable[..., Graph]) -> None:
    s = sketch(channels=3)
    a = s.conv("x", 6, 3, bias=True)
    b = s.affine(s.conv(a, 3, 3, groups=3, activation="relu"), activation="hard_swish")
    c = s.squeeze_excite(s.add("concat", a, b, channels=9))
    after = padded(logits(s, s.conv(s.relu(c), 5)))
    for node in after.nodes[1:-1]:
        assert node.shape.channels % 4 == 0, node.name
    assert after.makers[after.output].shape.channels == 5


def test_increments_are_laid_out_as_what_they_are_added_to(
    sketch: Any, padded: Callable[..., Graph]
) -> None:
    s = sketch(channels=3)
    parts = s.add("concat", s.conv("x", 6), s.conv("x", 3), channels=9)
    after = padded(logits(s, s.add("add", parts, s.conv(s.relu("x"), 9, bias=True))))
    assert "gather" not in {n.kind for n in after.nodes}


def test_what_cannot_agree_is_added_as_it_was(sketch: Any, padded: Callable[..., Graph]) -> None:
    s = sketch(channels=3)
    one = s.add("concat", s.conv("x", 6), s.conv("x", 3), channels=9)
    two = s.relu(s.conv("x", 9))
    after = padded(logits(s, s.add("add", one, two, two)))
    assert [n.kind for n in after.nodes].count("gather") == 2


def test_what_moves_channels_reads_them_as_they_were(
    sketch: Any, padded: Callable[..., Graph]
) -> None:
    s = sketch(channels=3)
    y = s.add("shuffle", s.conv("x", 6), groups=3)
    y = s.conv(s.add("slice", y, start=1, channels=5), 6, 3)
    y = s.indexed("index_add", y, s.conv(y, 3), index=[5, 0, 5], channels=6)
    y = s.conv(s.conv(y, 8, groups=2), 8, 3, groups=4)
    kinds = [n.kind for n in padded(logits(s, y)).nodes]
    assert kinds.count("gather") == 3, "of the convolutions that are not whole blocks"


def test_an_output_that_is_a_map_has_its_channels(
    sketch: Any, padded: Callable[..., Graph]
) -> None:
    s = sketch(channels=3)
    after = padded(s.graph(s.conv("x", 6)))
    assert after.makers[after.output].shape == (6, 8, 8)
