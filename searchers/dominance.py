"""Networks that none beats in every objective."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Losses = NDArray[np.float64]
"""A row per network, a column per objective, all to minimise."""


def front_ranks(losses: Losses) -> NDArray[np.intp]:
    """How many fronts lie before that of each of ``(N, objectives)`` networks."""
    rows, columns = losses[:, None], losses[None]
    dominates = np.asarray(np.all(rows <= columns, -1) & np.any(rows < columns, -1))
    ranks = np.zeros(len(losses), dtype=np.intp)
    left = np.ones(len(losses), dtype=bool)
    while left.any():
        ranks[left] += 1
        left &= dominates[left].any(axis=0)
    return ranks - 1
