"""Rank correlations: by hand, against another formula, and where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from results.correlation import correlation, kendall, partial_spearman, spearman


def column(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


def test_ranks_alone_count() -> None:
    x = column(1, 2, 3, 4)
    assert spearman(x, np.exp(9 * x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    # Differences of ranks 1, 1, 0, 0: 1 - 6 * 2 / (4 * 15).
    assert spearman(x, column(20, 10, 30, 40)) == pytest.approx(0.8)
    # Five of six pairs in order, one not.
    assert kendall(x, column(20, 10, 30, 40)) == pytest.approx(4 / 6)


def test_equal_numbers_share_a_rank() -> None:
    x, y = column(1, 1, 2, 3, 5, 5), column(2, 1, 2, 2, 7, 8)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert spearman(x, y) == spearman(x[::-1], y[::-1])


def test_what_is_left_at_like_costs_is_that_of_residuals() -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=200)
    x, y = (np.exp(given + 0.3 * rng.normal(size=200)) for _ in range(2))
    ranks = [stats.rankdata(c) for c in (x, y, given)]
    residuals = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    found = partial_spearman(x, y, given)
    assert found == pytest.approx(np.corrcoef(*residuals)[0, 1])
    assert abs(found) < 0.2 < 0.8 < spearman(x, y)
    assert partial_spearman(x, y, np.exp(given)) == pytest.approx(found)
    assert math.isnan(partial_spearman(given, y, np.exp(given)))


def test_the_interval_holds_the_value_and_narrows() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=400)
    y = x + rng.normal(size=400)
    few = correlation(spearman, x[:25], y[:25], resamples=200)
    many = correlation(spearman, x, y, resamples=200)
    assert few is not None
    assert many is not None
    for found in (few, many):
        assert -1 <= found.low < found.value < found.high <= 1
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert correlation(spearman, x, y, resamples=200) == many
    assert correlation(spearman, x, y, resamples=200, seed=1) != many


def test_perfect_order_is_certain_and_none_is_undefined() -> None:
    x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    sure = correlation(kendall, x, [a * a for a in x], resamples=50)
    assert sure is not None
    assert (sure.value, sure.low, sure.high) == pytest.approx((1, 1, 1))
    assert str(sure) == "+1.00 (+1.00 to +1.00)"
    assert correlation(spearman, x, [0.5] * 6) is None
    assert correlation(kendall, [0.5] * 6, x) is None
    # Some resamples hold one network only, over and over.
    assert correlation(spearman, [1.0, 2.0], [1.0, 2.0], resamples=50) is not None
