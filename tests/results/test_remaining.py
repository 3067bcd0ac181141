"""How long a study will take yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from results.ownership import Owner
from results.remaining import remaining
from results.trial import Score, Trial

TrialOf = Callable[..., Trial]
ELSEWHERE = "another/1/1 1 1 00000001"


def took(trial: Trial, *seconds: float) -> Trial:
    """The trial, scored in rungs that took so long."""
    rungs = tuple(Score(accuracy=0.5, loss=1.0, epochs=1, wall_s=s) for s in seconds)
    return dataclasses.replace(trial, rungs=rungs, score=trial.score and rungs[-1])


def owned(trial: Trial, owner: str | None) -> Trial:
    return dataclasses.replace(trial, owner=owner)


def test_the_mean_times_what_is_missing_over_those_that_train(trial: TrialOf) -> None:
    done = [took(trial(0), 10.0), took(trial(1), 30.0)]
    running = [owned(trial(n, None, state="running"), ELSEWHERE) for n in (2, 3, 4)]
    left = remaining([*done, *running], 11)
    assert (left.networks, left.seconds_each, left.training) == (9, 20.0, 3)
    assert (left.training_s, left.eta_s) == (180.0, 60.0)


def test_without_rungs_the_score_tells_the_time(trial: TrialOf) -> None:
    left = remaining([trial(0), owned(trial(1, None, state="running"), ELSEWHERE)], 4)
    assert (left.seconds_each, left.eta_s) == (0.5, 1.5)


def test_rungs_count_with_all_their_trainings(trial: TrialOf) -> None:
    done = [took(trial(0), 10.0), took(trial(1), 10.0, 40.0)]
    begun = owned(took(trial(2, None, state="running"), 10.0), ELSEWHERE)
    left = remaining([*done, begun], 3)
    assert (left.seconds_each, left.training_s, left.eta_s) == (30.0, 20.0, 20.0)


def test_failed_and_withdrawn_trials_are_to_be_replaced(trial: TrialOf) -> None:
    others = [trial(1, None), trial(2, None, state="withdrawn")]
    assert remaining([trial(0), *others], 5).networks == 4


def test_nobody_trains(trial: TrialOf) -> None:
    released = owned(trial(1, None, state="running"), None)
    # A number of a process that ended long ago, on this machine.
    dead = dataclasses.replace(Owner.here(), started=1)
    left = remaining([trial(0), released, owned(released, str(dead))], 5)
    assert (left.training, left.training_s, left.eta_s) == (0, 2.0, None)


def test_this_process_trains(trial: TrialOf) -> None:
    mine = owned(trial(1, None, state="running"), str(Owner.here()))
    assert remaining([trial(0), mine], 5).eta_s == 2.0


@pytest.mark.parametrize("wanted", [0, 1])
def test_all_is_scored(trial: TrialOf, wanted: int) -> None:
    assert remaining([trial(0)], wanted).eta_s == 0.0


def test_nothing_is_known_yet(trial: TrialOf) -> None:
    left = remaining([owned(trial(0, None, state="running"), ELSEWHERE)], 5)
    assert (left.seconds_each, left.training_s, left.eta_s) == (None, None, None)
