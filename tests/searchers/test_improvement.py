"""Fronts, and what one more network is expected to add to them."""

from __future__ import annotations

import numpy as np
import pytest

from searchers.improvement import Steps

ACCURACY = np.array([2.0, 3.0, 1.5, 3.0])
COST = np.array([1.0, 3.0, 2.0, 3.0])
STEPS = Steps.of(ACCURACY, COST, (0.0, 5.0))


def plain(values: np.ndarray) -> np.ndarray:
    return values


def gain(accuracy: float, cost: float, deviation: float = 1e-9) -> float:
    found = STEPS.expected_improvement(
        np.array([accuracy]), np.array([deviation]), np.array([cost]), plain
    )
    return float(found[0])


def test_points_outside_the_reference_are_no_steps() -> None:
    steps = Steps.of(ACCURACY, COST, (2.0, 2.5))
    assert steps.levels.tolist() == [2.0]


@pytest.mark.parametrize(
    ("accuracy", "cost", "expected"),
    [
        (4.0, 2.0, (4 - 2) * 1 + (4 - 3) * 2),
        (2.5, 2.0, 0.5),
        (1.0, 0.5, 1 * 0.5),
        (4.0, 4.5, 0.5),
        (2.0, 2.0, 0.0),
        (9.0, 6.0, 0.0),
    ],
)
def test_a_sure_network_adds_the_area_it_covers(
    accuracy: float, cost: float, expected: float
) -> None:
    assert gain(accuracy, cost) == pytest.approx(expected, abs=1e-6)


def test_an_unsure_network_adds_the_mean_over_draws() -> None:
    draws = np.random.default_rng(0).normal(2.8, 0.7, size=100_000)
    sure = STEPS.expected_improvement(
        draws, np.full(len(draws), 1e-9), np.full(len(draws), 2.0), plain
    )
    assert gain(2.8, 2.0, 0.7) == pytest.approx(sure.mean(), rel=0.03)


def test_the_scale_of_the_model_is_undone() -> None:
    found = STEPS.expected_improvement(
        np.array([2.0]), np.array([1e-9]), np.array([2.0]), lambda values: values**2
    )
    assert found[0] == pytest.approx((4 - 2) * 1 + (4 - 3) * 2)
