"""Which trials are the best, by accuracy, by latency and at the knee of the front."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest

from results.best import BY, best_trials
from results.tables import most_accurate, pareto_front
from results.trial import Trial
from search_space.errors import UnknownName, UserError

TrialOf = Callable[..., Trial]
POINTS = ((0.5, 10.0), (0.8, 14.0), (0.85, 30.0), (0.9, 50.0), (0.7, 40.0), (0.9, 60.0))
"""Accuracy and latency of the trials 0 to 5, of which the first four are the front."""


@pytest.fixture
def trials(trial: TrialOf) -> list[Trial]:
    failed_and_running = [trial(6, None), trial(7, None, state="running")]
    return [*(trial(n, *point) for n, point in enumerate(POINTS)), *failed_and_running]


@pytest.mark.parametrize(
    ("by", "numbers"),
    [("accuracy", [3, 5, 2, 1, 4, 0]), ("latency", [0, 1, 2, 4, 3, 5]), ("knee", [1, 2, 0, 3])],
)
def test_the_order(trials: list[Trial], by: str, numbers: list[int]) -> None:
    assert [t.number for t in best_trials(trials, by, 9)] == numbers
    assert [t.number for t in best_trials(trials, by, 2)] == numbers[:2]
    assert best_trials(trials, "accuracy", 1) == [most_accurate(trials)]


def test_no_order_depends_on_the_order_of_trials_or_on_units(trials: list[Trial]) -> None:
    slower = [
        dataclasses.replace(
            t, estimate=dataclasses.replace(t.estimate, latency_ms=1000 * t.estimate.latency_ms)
        )
        for t in trials
    ]
    for by, shuffled in itertools.product(BY, (trials[::-1], slower)):
        expected = [t.number for t in best_trials(trials, by, 9)]
        assert [t.number for t in best_trials(shuffled, by, 9)] == expected


def test_the_knee_is_the_farthest_from_the_line_between_the_ends(trials: list[Trial]) -> None:
    front = pareto_front(trials)
    (low, fast), (high, slow) = front[0].objectives, front[-1].objectives

    def distance(trial: Trial) -> float:
        accuracy, ms = trial.objectives
        return float(((accuracy - low) / (high - low) - (ms - fast) / (slow - fast)) / 2**0.5)

    knee = best_trials(trials, "knee", 1)[0]
    assert distance(knee) == max(map(distance, front)) == pytest.approx(0.65 / 2**0.5)


def test_only_the_highest_rung_competes(
    trial: TrialOf, trials: list[Trial], score: Callable[..., object]
) -> None:
    higher = dataclasses.replace(trial(8, 0.4, 12.0), rungs=(score(0.3), score(0.4)))
    for by in ("accuracy", "latency"):
        assert best_trials([*trials, higher], by, 9) == [higher]


def test_what_has_no_best(trial: TrialOf) -> None:
    two = [trial(0, 0.5, 10.0), trial(1, 0.6, 20.0)]
    with pytest.raises(UserError, match="front has 2 networks, a knee needs at least 3"):
        best_trials(two, "knee", 1)
    with pytest.raises(UnknownName, match="unknown order 'size'; known: accuracy, knee, latency"):
        best_trials(two, "size", 1)
    with pytest.raises(UserError, match="`n` \\(=0\\) must be at least 1"):
        best_trials(two, "accuracy", 0)
    assert best_trials([], "accuracy", 3) == []
