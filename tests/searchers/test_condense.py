"""The searcher that knows costs learns from accuracies, told or expected."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from results.trial import Proposal, Trial
from search_space import SearchSpace, macs
from searchers import Searcher
from searchers.condense import LEARNT, START

Make = Callable[..., Searcher]
End = Callable[[int, Proposal], Trial]
NO_LIMIT = 1e12


def scored(trial: Trial, accuracy: float) -> Trial:
    assert trial.score is not None
    return dataclasses.replace(trial, score=dataclasses.replace(trial.score, accuracy=accuracy))


def test_the_start_spreads_over_the_costs(make: Make, small: SearchSpace) -> None:
    searcher = make("condense", small, limit=NO_LIMIT)
    costs = sorted(macs(searcher.ask(number).spec) for number in range(START))
    assert costs[-1] > 4 * costs[0]
    assert np.diff(costs).max() < 0.5 * (costs[-1] - costs[0])


def test_what_was_told_leads_to_a_better_front(
    make: Make, small: SearchSpace, complete: End
) -> None:
    # The deeper the first stage and the shallower the second, the better.
    def search(name: str) -> float:
        searcher = make(name, small, limit=NO_LIMIT)
        told = []
        for number in range(START + 12):
            proposal = searcher.ask(number)
            first, second = (stage.depth for stage in proposal.spec.stages)
            told.append(scored(complete(number, proposal), 0.5 + 0.1 * (first - second)))
            searcher.tell(told[-1])
        later = [trial.objectives[0] for trial in told[START:]]
        return float(np.mean(later))

    assert search("condense") > search("random") + 0.05


def test_a_pending_network_sends_the_next_elsewhere(
    make: Make, small: SearchSpace, complete: End
) -> None:
    searcher = make("condense", small)
    for number in range(START):
        searcher.tell(complete(number, searcher.ask(number)))
    batch = [searcher.ask(number) for number in range(START, START + 3)]
    assert len({proposal.spec.id for proposal in batch}) == 3
    for number, proposal in enumerate(batch, start=START):
        searcher.tell(complete(number, proposal))
    assert searcher.ask(START + 3).spec.id not in {p.spec.id for p in batch}


def test_scores_of_a_lower_rung_are_not_taken_for_those_of_the_last(
    make: Make, small: SearchSpace, complete: End
) -> None:
    # A short training of all shows nothing, and more than the longer one of every other.
    searcher = make("condense", small, limit=NO_LIMIT)
    found = []
    known = 2 * LEARNT
    for number in range(known + 12):
        proposal = searcher.ask(number)
        first, second = (stage.depth for stage in proposal.spec.stages)
        found.append(0.5 + 0.1 * (first - second))
        short, long = (scored(complete(number, proposal), a) for a in (0.9, found[-1]))
        assert short.score is not None
        assert long.score is not None
        if number % 2:
            searcher.tell(dataclasses.replace(short, rungs=(short.score,)))
        else:
            searcher.tell(dataclasses.replace(long, rungs=(short.score, long.score)))
    assert np.mean(found[known:]) > np.mean(found[:known]) + 0.04


def test_a_rung_that_one_network_has_reached_tells_nothing_of_the_others(
    make: Make, small: SearchSpace, complete: End
) -> None:
    # The first goes on, and what a longer training adds; of the others the shorter one is known.
    searcher = make("condense", small, limit=NO_LIMIT)
    found = []
    for number in range(START + 16):
        proposal = searcher.ask(number)
        first, second = (stage.depth for stage in proposal.spec.stages)
        found.append(0.5 + 0.1 * (first - second))
        short, long = (scored(complete(number, proposal), a) for a in (found[-1], 0.9))
        assert short.score is not None
        assert long.score is not None
        if number:
            searcher.tell(dataclasses.replace(short, rungs=(short.score,)))
        else:
            searcher.tell(dataclasses.replace(long, rungs=(short.score, long.score)))
    assert np.mean(found[START:]) > np.mean(found[:START]) + 0.05


def test_what_is_of_no_use_is_not_improved(make: Make, small: SearchSpace, complete: End) -> None:
    def mean_cost(least_accuracy: float | None) -> float:
        searcher = make("condense", small, limit=NO_LIMIT)
        searcher.admission.least_accuracy = least_accuracy
        costs = []
        for number in range(START + 10):
            proposal = searcher.ask(number)
            costs.append(np.log(macs(proposal.spec)))
            # The more it costs, the better.
            searcher.tell(scored(complete(number, proposal), 0.05 * costs[-1]))
        return float(np.mean(costs[START:]))

    # That of a network in the upper part of the costs.
    assert mean_cost(0.05 * np.log(4e6)) > mean_cost(None) + 0.2
