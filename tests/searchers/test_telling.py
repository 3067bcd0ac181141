"""What is left of many trials for a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from results.pareto import front
from results.trial import Proposal, Score, Trial, contenders
from search_space import SearchSpace
from searchers import Searcher, condense
from searchers.aims import told_for
from searchers.condense import START
from searchers.telling import telling

End = Callable[[int, Proposal], Trial]


@pytest.fixture
def trials(make: Callable[..., Searcher], small: SearchSpace, complete: End) -> list[Trial]:
    searcher = make("random", small, limit=1e12)
    return [complete(number, searcher.ask(number)) for number in range(60)]


def test_few_are_all_taken(trials: list[Trial]) -> None:
    assert telling(trials, len(trials)) == trials


def test_of_many_the_front_the_newest_and_both_ends_are_taken(trials: list[Trial]) -> None:
    some = telling(trials, 20)
    numbers = [trial.number for trial in some]
    assert len(some) == 20
    assert numbers == sorted(numbers)
    accuracy, cost = np.transpose([trial.objectives for trial in contenders(trials)])
    best = [int(i) for i in front(accuracy, cost)]
    assert 0 < len(best) <= 10
    assert set(best) <= set(numbers)
    assert set(range(55, 60)) <= set(numbers)
    by_accuracy = sorted(trials, key=lambda trial: (trial.objectives[0], trial.number))
    assert by_accuracy[0].number in numbers


def test_a_searcher_that_was_told_many_goes_on_as_one_that_resumes(
    make: Callable[..., Searcher],
    small: SearchSpace,
    complete: End,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(condense, "MOST", START)
    seen: list[int] = []
    original = condense.CondenseSearcher._observed

    def counted(self: condense.CondenseSearcher, of: list[Trial], rungs: int) -> object:
        seen.append(len(of))
        return original(self, of, rungs)

    monkeypatch.setattr(condense.CondenseSearcher, "_observed", counted)
    searcher, told = make("condense", small), []
    for number in range(START + 4):
        told.append(complete(number, searcher.ask(number)))
        searcher.tell(told[-1])
    resumed = make("condense", small)
    for trial in told:
        resumed.tell(trial)
    assert searcher.ask(START + 4) == resumed.ask(START + 4)
    assert set(seen) == {START}


def test_where_all_cost_the_same_the_most_accurate_stay(trials: list[Trial]) -> None:
    alike = [told_for("accuracy", trial) for trial in trials]
    best = sorted(alike, key=lambda t: (-t.objectives[0], t.number))[:10]
    assert {t.number for t in best} <= {t.number for t in telling(alike, 20)}


def test_lower_rungs_keep_their_share(trials: list[Trial]) -> None:
    score = Score(accuracy=0.5, loss=1.0, epochs=1, wall_s=1.0)
    halved = [
        dataclasses.replace(trial, rungs=(score,) * (2 if trial.number % 3 == 0 else 1))
        for trial in trials
    ]
    rungs = [len(trial.rungs) for trial in telling(halved, 20)]
    assert rungs.count(1) >= 5
    assert rungs.count(2) >= 5
