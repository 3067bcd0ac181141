"""Fronts, areas and thinned lists that one can see."""

from __future__ import annotations

import numpy as np
import pytest

from results.pareto import evenly, front, hypervolume

ACCURACY = np.array([2.0, 3.0, 1.5, 3.0])
COST = np.array([1.0, 3.0, 2.0, 3.0])


def test_a_front_is_what_nothing_equals_or_beats_in_both() -> None:
    assert front(ACCURACY, COST).tolist() == [0, 1]
    assert front(np.array([1.0, 2.0]), np.array([1.0, 1.0])).tolist() == [1]
    assert front(np.array([]), np.array([])).tolist() == []


def test_the_hypervolume_is_that_of_a_drawing() -> None:
    # Two steps of 4 x 2 and 2 x 1; dominated, too dear and too bad points add nothing.
    accuracy = np.array([2.0, 3.0, 1.5, 9.0, -1.0])
    cost = np.array([1.0, 3.0, 2.0, 5.0, 0.0])
    assert hypervolume(accuracy, cost, (0.0, 5.0)) == 2 * 4 + 1 * 2
    assert hypervolume(accuracy, cost, (9.0, 5.0)) == 0


@pytest.mark.parametrize(
    ("count", "most", "indices"),
    [(0, 3, []), (2, 3, [0, 1]), (3, 3, [0, 1, 2]), (4, 3, [0, 1, 3]), (101, 3, [0, 50, 100])],
)
def test_a_few_of_many_reach_from_the_first_to_the_last(
    count: int, most: int, indices: list[int]
) -> None:
    assert evenly(count, most).tolist() == indices
