"""Wilson's interval."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from search_space.proportion import wilson_interval


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize(("hits", "count"), [(0, 5), (1, 3), (324, 360), (7, 7)])
def test_it_is_that_of_scipy(hits: int, count: int, confidence: float) -> None:
    found = binomtest(hits, count).proportion_ci(confidence, method="wilson")
    assert wilson_interval(hits, count, confidence) == pytest.approx((found.low, found.high))
