"""Networks that none beats in every objective."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from results.pareto import front

Losses = NDArray[np.float64]
"""A row per network, a column per objective, all to minimise."""


def front_ranks(losses: Losses) -> NDArray[np.intp]:
    """How many fronts lie before that of each of ``(N, objectives)`` networks.

    For two objectives in N log N steps: in the order of the first, a network is beaten by a front
    where the lowest second objective seen there is no higher, and these rise from front to front
    (Jensen 2003, "Reducing the run-time complexity of multiobjective EAs").
    """
    if losses.shape[1] == 2:
        return _two_objectives(losses)
    rows, columns = losses[:, None], losses[None]
    dominates = np.asarray(np.all(rows <= columns, -1) & np.any(rows < columns, -1))
    ranks = np.zeros(len(losses), dtype=np.intp)
    left = np.ones(len(losses), dtype=bool)
    while left.any():
        ranks[left] += 1
        left &= dominates[left].any(axis=0)
    return ranks - 1


def leaders(accuracy: Losses, cost: Losses, count: int) -> list[int]:
    """Indices of the front; where all cost the same, so that the front is a single network, of the
    ``count`` most accurate."""
    if cost.min() < cost.max():
        return [int(i) for i in front(accuracy, cost)]
    return [int(i) for i in np.argsort(-accuracy, kind="stable")[:count]]


def _two_objectives(losses: Losses) -> NDArray[np.intp]:
    ranks = np.zeros(len(losses), dtype=np.intp)
    lowest: list[float] = []
    before, rank = None, 0
    for i in np.lexsort(losses.T[::-1]):
        first, second = losses[i].tolist()
        if (first, second) != before:  # equal networks share a front
            before, rank = (first, second), bisect_right(lowest, second)
            lowest[rank : rank + 1] = [second]
        ranks[i] = rank
    return ranks
