"""Rank correlations of what was measured on the same networks, with how sure they are.

Statistics take columns ``(..., n)`` of n networks and give numbers ``(...)``, NaN where a column is
constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]
Statistic = Callable[..., Numbers]

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A rank correlation in [-1, 1], and its 95 % interval from resampled networks."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def spearman(x: Numbers, y: Numbers) -> Numbers:
    """Pearson's correlation of the ranks, equal numbers sharing one."""
    ranks = (stats.rankdata(column, axis=-1) for column in (x, y))
    return _cosine(*(r - r.mean(-1, keepdims=True) for r in ranks))


def kendall(x: Numbers, y: Numbers) -> Numbers:
    """Kendall's tau-b: pairs in the same order minus pairs in the opposite one, over the geometric
    mean of those not tied in x and those not tied in y."""
    pairs = (np.sign(column[..., :, None] - column[..., None, :]) for column in (x, y))
    return _cosine(*(p.reshape(*p.shape[:-2], -1) for p in pairs))


def partial_spearman(x: Numbers, y: Numbers, given: Numbers) -> Numbers:
    """What is left of :func:`spearman` at like ``given``: the correlation of what linear
    regressions of the ranks of x and of y on those of ``given`` leave over.

    Logarithms of ``given`` make no difference. NaN, too, where one follows from it entirely.
    """
    xy, xz, yz = spearman(x, y), spearman(x, given), spearman(y, given)
    left = (1 - xz**2) * (1 - yz**2)
    # What rounding leaves of a perfect correlation is nothing to divide by.
    left = np.where(left > 1e-12, left, np.nan)
    return np.asarray((xy - xz * yz) / np.sqrt(left))


def correlation(
    statistic: Statistic, *columns: Sequence[float], seed: int = 0, resamples: int = RESAMPLES
) -> Correlation | None:
    """A statistic of columns of equal length, with its percentile bootstrap interval.

    None where it is undefined. Resamples in which it is are left out (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13).
    """
    table = np.asarray(columns, dtype=np.float64)
    value = float(statistic(*table))
    if np.isnan(value):
        return None
    n = table.shape[1]
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    # A few at a time: a pair of networks is a number, too.
    found = np.concatenate([statistic(*table[:, some]) for some in np.array_split(draws, 20)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found[~np.isnan(found)], (tail, 1 - tail))
    return Correlation(value=value, low=float(low), high=float(high))


def _cosine(x: Numbers, y: Numbers) -> Numbers:
    """Over the last axis; NaN where one is all zeros."""
    squares = (x * x).sum(-1) * (y * y).sum(-1)
    return np.asarray((x * y).sum(-1) / np.sqrt(np.where(squares > 0, squares, np.nan)))
