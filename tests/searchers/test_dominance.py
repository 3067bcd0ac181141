"""Fronts of points that one can see."""

from __future__ import annotations

import numpy as np
import pytest

from searchers.dominance import front_ranks, leaders


@pytest.mark.parametrize(
    ("losses", "ranks"),
    [
        ([(1, 1)], [0]),
        ([(0, 10), (1, 5), (2, 4), (10, 0)], [0, 0, 0, 0]),
        ([(3, 3), (1, 1), (2, 2)], [2, 0, 1]),
        ([(1, 1), (1, 1), (1, 2)], [0, 0, 1]),
        ([(0, 2), (2, 0), (1, 3), (3, 1), (3, 3)], [0, 0, 1, 1, 2]),
        ([(1, 2, 3), (3, 2, 1), (3, 3, 3)], [0, 0, 1]),
    ],
)
def test_ranks_count_the_fronts_before(losses: list[tuple[float, ...]], ranks: list[int]) -> None:
    assert front_ranks(np.array(losses, dtype=float)).tolist() == ranks


def test_ranks_are_fronts_peeled_one_by_one() -> None:
    losses = np.random.default_rng(0).integers(6, size=(40, 2)).astype(float)
    ranks = front_ranks(losses)
    assert ranks.max() >= 3
    for rank in range(ranks.max() + 1):
        left = losses[ranks >= rank]
        beaten = [any((o <= x).all() and (o < x).any() for o in left) for x in left]
        assert [not b for b in beaten] == (ranks[ranks >= rank] == rank).tolist()


def test_two_objectives_are_ranked_as_more_are() -> None:
    rng = np.random.default_rng(0)
    for losses in (rng.integers(9, size=(200, 2)).astype(float), rng.random((200, 2))):
        a_third = np.column_stack([losses, np.zeros(200)])
        assert front_ranks(losses).tolist() == front_ranks(a_third).tolist()


def test_leaders_are_the_front_or_where_costs_are_equal_the_most_accurate() -> None:
    accuracy = np.array([0.3, 0.9, 0.5, 0.7])
    assert leaders(accuracy, np.array([1.0, 4.0, 2.0, 3.0]), 2) == [0, 2, 3, 1]
    assert leaders(accuracy, np.zeros(4), 2) == [1, 3]
