from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from search_space.graph import Graph, Node, Shape, addition_tables, everywhere, selected


def node(name: str, *inputs: str, kind: str = "add", **settings: Any) -> Node:
    return Node(kind=kind, name=name, inputs=inputs, shape=Shape(4, 2, 2), **settings)


GRAPH = Graph(
    nodes=(node("x", kind="input"), node("a", "x"), node("b", "a"), node("c", "a", "b", "b")),
    output="c",
)


def names(graph: Graph) -> list[str]:
    return [n.name for n in graph.nodes]


def test_a_value_knows_who_reads_it_and_who_does_so_alone() -> None:
    assert [n.name for n in GRAPH.readers["a"]] == ["b", "c"]
    assert GRAPH.only_reader("a") is None
    assert GRAPH.only_reader("b") is GRAPH.makers["c"]
    assert GRAPH.only_reader("c") is None, "the output is read from outside"


def test_what_nobody_reads_any_more_is_gone() -> None:
    after = GRAPH.rewritten({"c": [node("c", "a")]})
    assert names(after) == ["x", "a", "c"]


def test_readers_follow_a_renamed_value_and_nodes_their_inputs() -> None:
    after = GRAPH.rewritten({"b": [node("late", "early"), node("early", "a")]}, {"b": "late"})
    assert names(after) == ["x", "a", "early", "late", "c"]
    assert after.makers["c"].inputs == ("a", "late", "late")
    assert names(GRAPH.rewritten({}, {"c": "b"})) == ["x", "a", "b"]


def test_a_rule_is_applied_until_it_applies_to_nothing() -> None:
    """Chains of additions of one value disappear whatever their length."""
    chain = Graph(
        nodes=(
            node("x", kind="input"),
            *(node(f"{i + 1}", f"{i}" if i else "x") for i in range(5)),
        ),
        output="5",
    )

    def rule(n: Node, graph: Graph) -> list[Node] | None:
        if n.kind != "add" or graph.makers[n.input].kind != "add":
            return None
        return [dataclasses.replace(n, inputs=graph.makers[n.input].inputs)]

    assert names(everywhere(rule)(chain)) == ["x", "5"]


def test_multiply_adds_are_those_of_weights_at_every_position() -> None:
    conv = node("c", "x", kind="conv", tensors={"weight": np.ones((6, 2, 3, 3))}, groups=2)
    linear = Node(
        kind="linear", name="l", inputs=("c",), shape=Shape(5), tensors={"weight": np.ones((5, 4))}
    )
    assert (conv.macs, linear.macs) == (6 * 2 * 9 * 4, 20)
    assert (
        Graph(nodes=(node("x", kind="input"), conv, linear), output="l").macs == 6 * 2 * 9 * 4 + 20
    )


def test_a_selection_is_told_by_its_index() -> None:
    shuffle = node("s", "x", kind="shuffle", groups=2)
    assert selected(shuffle, 4).tolist() == [0, 2, 1, 3]  # type: ignore[union-attr]
    assert selected(node("s", "x", kind="slice", start=3), 9).tolist() == [3, 4, 5, 6]  # type: ignore[union-attr]
    assert selected(node("a", "x"), 4) is None


def test_tables_of_gathers_add_what_an_index_adds() -> None:
    index = np.array([3, 0, 3, 1, 0, 3])  # 2 and 4 are given nothing
    tables = addition_tables(index, 5)
    assert tables.shape == (3, 5)
    y = torch.arange(1.0, 7.0)
    padded = np.append(y.numpy(), 0)
    expected = torch.zeros(5).index_add(0, torch.from_numpy(index), y)
    assert padded[tables].sum(0).tolist() == expected.tolist()
