"""Many networks as arrays of accuracy and cost: which stand on the front, how much of the plane it
dominates, a few of many evenly spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def front(accuracy: Array, cost: Array) -> Indices:
    """Those that no other one equals or beats in both, by rising cost; of equal ones the first."""
    order = np.lexsort((-accuracy, cost))
    before = np.maximum.accumulate(np.concatenate([[-np.inf], accuracy[order][:-1]]))
    return order[accuracy[order] > before]


def hypervolume(accuracy: Array, cost: Array, reference: tuple[float, float]) -> float:
    """The area that points dominate above an accuracy and below a cost."""
    least, limit = reference
    on = front(accuracy, cost)
    on = on[(accuracy[on] > least) & (cost[on] < limit)]
    steps = np.diff(accuracy[on], prepend=least)
    return float(steps @ (limit - cost[on]))


def evenly(count: int, most: int) -> Indices:
    """Indices of at most ``most`` of ``count``, the first and the last among them."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.intp)
