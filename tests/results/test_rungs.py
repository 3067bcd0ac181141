"""Counts and rank correlations of rungs, by figures worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from results.rungs import RankCorrelation, RungCount, correlate_rungs, count_rungs
from results.trial import Score, State, Trial

Climb = Callable[..., Trial]


@pytest.fixture
def climb(trial: Callable[..., Trial], score: Callable[[float], Score]) -> Climb:
    """A trial with its accuracies in the rungs that it has been scored in."""

    def make(number: int, *accuracies: float, state: State = "complete") -> Trial:
        ended = trial(number, accuracies[-1] if state == "complete" else None, state=state)
        return dataclasses.replace(ended, rungs=tuple(map(score, accuracies)))

    return make


def test_a_rung_counts_who_was_scored_and_who_went_on(climb: Climb) -> None:
    trials = [
        climb(0, 0.1, 0.4, 0.5),
        climb(1, 0.3),
        climb(2, 0.2, 0.6),
        climb(3, 0.2, state="failed"),  # in the second rung
        climb(4, 0.25, state="running"),
        climb(5, state="failed"),  # in the first
    ]
    assert count_rungs(trials) == [
        RungCount(rung=1, scored=5, went_on=2, best_accuracy=0.3, wall_s=2.5),
        RungCount(rung=2, scored=2, went_on=1, best_accuracy=0.6, wall_s=1.0),
        RungCount(rung=3, scored=1, went_on=0, best_accuracy=0.5, wall_s=0.5),
    ]


def test_without_rungs_there_is_nothing_to_count(trial: Callable[..., Trial]) -> None:
    for trials in ([], [trial(0, 0.5), trial(1, None)]):
        assert count_rungs(trials) == []
        assert correlate_rungs(trials) == []


def test_orders_are_compared_over_the_trials_of_both_rungs(climb: Climb) -> None:
    before, after = [0.1, 0.2, 0.3, 0.4], [0.5, 0.7, 0.6, 0.8]
    trials = [climb(n, a, b) for n, (a, b) in enumerate(zip(before, after, strict=True))]
    trials += [climb(4, 0.9), climb(5, 0.15, state="running")]
    (found,) = correlate_rungs(trials)
    assert (found.lower, found.trials) == (1, 4)
    # One of six pairs is turned round; the ranks differ by 0, 1, 1, 0.
    assert found.kendall == pytest.approx((5 - 1) / 6)
    assert found.spearman == pytest.approx(1 - 6 * 2 / (4 * (4**2 - 1)))


def test_each_rung_is_compared_with_the_next(climb: Climb) -> None:
    trials = [climb(n, a, -a, a / 2) for n, a in enumerate((0.1, 0.2, 0.3))]
    lower, upper = correlate_rungs(trials)
    assert (lower.lower, upper.lower) == (1, 2)
    for found in (lower, upper):
        assert found.spearman == pytest.approx(-1)
        assert found.kendall == pytest.approx(-1)


@pytest.mark.parametrize(
    "pairs", [[(0.1, 0.2), (0.3, 0.4)], [(0.1, 0.2), (0.1, 0.3), (0.1, 0.4)], [(0.1, 0.2)]]
)
def test_too_few_or_equal_accuracies_have_no_correlation(
    climb: Climb, pairs: list[tuple[float, float]]
) -> None:
    trials = [climb(n, *pair) for n, pair in enumerate(pairs)]
    assert correlate_rungs(trials) == [
        RankCorrelation(lower=1, trials=len(pairs), spearman=None, kendall=None)
    ]
