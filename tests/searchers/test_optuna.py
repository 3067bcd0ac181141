"""Optuna's samplers learn from what they are told, and from nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from results.trial import Proposal, Trial
from search_space import SearchSpace
from search_space.space import Choices
from searchers import Searcher

Make = Callable[..., Searcher]
End = Callable[[int, Proposal], Trial]
NO_LIMIT = 1e12


def position(space: SearchSpace, choices: Choices) -> float:
    """How far up its choices a combination stands, from 0 to 1, on average."""
    return float(
        np.mean([d.choices.index(choices[d.name]) / (len(d.choices) - 1) for d in space.dimensions])
    )


@pytest.fixture
def scored(wide: SearchSpace, complete: End) -> End:
    """Ends a proposal with its position as accuracy and a latency that all share."""

    def end(number: int, proposal: Proposal) -> Trial:
        trial = complete(number, proposal)
        assert trial.score is not None
        accuracy = position(wide, proposal.choices)
        return dataclasses.replace(
            trial,
            estimate=dataclasses.replace(trial.estimate, latency_ms=1.0),
            score=dataclasses.replace(trial.score, accuracy=accuracy),
        )

    return end


@pytest.mark.parametrize("name", ["optuna:tpe", "optuna:nsga2"])
def test_what_was_told_leads_to_better_proposals(
    name: str, make: Make, wide: SearchSpace, scored: End
) -> None:
    searcher = make(name, wide, limit=NO_LIMIT)
    positions = []
    for number in range(50):
        trial = scored(number, searcher.ask(number))
        searcher.tell(trial)
        positions.append(position(wide, trial.proposal.choices))
    chance = make("random", wide, limit=NO_LIMIT)
    by_chance = [position(wide, chance.ask(number).choices) for number in range(100)]
    assert np.mean(positions[40:]) > np.mean(by_chance) + 0.08


def test_failed_trials_teach_nothing(
    make: Make, small: SearchSpace, complete: End, failed: End
) -> None:
    guide = make("optuna:tpe", small)
    trials = [complete(n, guide.ask(n)) for n in range(12)]
    with_failures, without = make("optuna:tpe", small), make("optuna:tpe", small)
    for trial in trials[:11]:
        with_failures.tell(trial)
        without.tell(trial)
    with_failures.tell(failed(11, trials[11].proposal))
    without.admission.remember(trials[11].proposal.spec)
    assert with_failures.ask(12) == without.ask(12)


def test_a_genetic_proposal_notes_its_generation(
    make: Make, small: SearchSpace, complete: End
) -> None:
    searcher = make("optuna:nsga2", small)
    generations = []
    for number in range(21):
        proposal = searcher.ask(number)
        generations += proposal.notes["marks"].values()
        searcher.tell(complete(number, proposal))
    assert generations == [0] * 20 + [1]


def test_a_later_generation_is_resumed_exactly(
    make: Make, small: SearchSpace, complete: End
) -> None:
    searcher = make("optuna:nsga2", small)
    trials: list[Trial] = []
    for number in range(45):
        trials.append(complete(number, searcher.ask(number)))
        searcher.tell(trials[-1])
    for k in range(20, 45, 3):
        resumed = make("optuna:nsga2", small)
        for trial in trials[:k]:
            resumed.tell(trial)
        assert resumed.ask(k) == trials[k].proposal, k
