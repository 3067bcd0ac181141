"""Regularised evolution against small populations that one can see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from results.trial import Proposal, Trial
from search_space import SearchSpace
from searchers import Searcher
from searchers.evolution import (
    POPULATION,
    crowded_places,
    crowding_distances,
    mutated,
)

Make = Callable[..., Searcher]
End = Callable[[int, Proposal], Trial]
NO_LIMIT = 1e12


def with_objectives(trial: Trial, accuracy: float, latency_ms: float) -> Trial:
    assert trial.score is not None
    return dataclasses.replace(
        trial,
        estimate=dataclasses.replace(trial.estimate, latency_ms=latency_ms),
        score=dataclasses.replace(trial.score, accuracy=accuracy),
    )


# --- The order of NSGA-II -----------------------------------------------------------------------

FRONT = [(0, 10), (1, 5), (2, 4), (10, 0)]


def test_crowding_is_the_extent_between_neighbours_and_infinite_at_the_ends() -> None:
    inner = [(2 - 0) / 10 + (10 - 4) / 10, (10 - 1) / 10 + (5 - 0) / 10]
    distances = crowding_distances(np.array(FRONT, dtype=float))
    assert distances.tolist() == pytest.approx([np.inf, *inner, np.inf])


def test_an_objective_that_all_share_does_not_count() -> None:
    assert crowding_distances(np.array([(1.0, 7.0), (1.0, 7.0)])).tolist() == [0, 0]


def test_places_go_by_rank_then_by_crowding_then_by_age() -> None:
    # A dominated one; then a front: an end, the emptier inner one, the other, and an end.
    losses = np.array([(11, 11), (0, 10), (2, 4), (1, 5), (10, 0)], dtype=float)
    assert np.argsort(crowded_places(losses)).tolist() == [1, 4, 2, 3, 0]


# --- Mutation -----------------------------------------------------------------------------------


def test_a_mutation_changes_one_dimension_or_two_as_likely(wide: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    parent = wide.sample(rng)
    children = [mutated(wide, parent, rng) for _ in range(400)]
    changes = [[n for n in parent if child[n] != parent[n]] for child in children]
    assert {len(names) for names in changes} == {1, 2}
    assert 0.4 < np.mean([len(names) == 1 for names in changes]) < 0.6
    assert {name for names in changes for name in names} == set(parent)
    for d in wide.dimensions:
        assert {child[d.name] for child in children} == set(d.choices)


def test_a_space_of_one_dimension_can_be_mutated(tiny: SearchSpace) -> None:
    space = tiny.replace(depths=((1,),))
    rng = np.random.default_rng(0)
    assert mutated(space, {"stage1_growth_rate": 4}, rng) == {"stage1_growth_rate": 8}


# --- The search ---------------------------------------------------------------------------------


def test_children_come_of_the_latest_and_of_the_best_of_a_few(
    make: Make, wide: SearchSpace, complete: End
) -> None:
    searcher = make("evolution", wide, limit=NO_LIMIT)
    trials: list[Trial] = []
    for number in range(3 * POPULATION):
        proposal = searcher.ask(number)
        assert ("parent" in proposal.notes) == (number >= POPULATION)
        if number >= POPULATION:
            parent = trials[proposal.notes["parent"]]
            assert parent.number >= number - POPULATION
            changed = [
                d.name
                for d in wide.dimensions
                if proposal.choices[d.name] != parent.proposal.choices[d.name]
            ]
            # Writing a network in the plainest way may change further choices without effect.
            assert changed
        # The older the better: nobody young would win without the age limit.
        trials.append(with_objectives(complete(number, proposal), 1 - number / 100, 1.0))
        searcher.tell(trials[-1])
    ages = [t.number - t.proposal.notes["parent"] for t in trials[POPULATION:]]
    assert max(ages) > POPULATION / 2
    assert np.mean(ages) > POPULATION / 2 + 2


def test_the_failed_are_no_parents(
    make: Make, wide: SearchSpace, complete: End, failed: End
) -> None:
    searcher = make("evolution", wide, limit=NO_LIMIT)
    for number in range(60):
        proposal = searcher.ask(number)
        if "parent" in proposal.notes:
            assert proposal.notes["parent"] % 3
        searcher.tell((complete if number % 3 else failed)(number, proposal))
    assert "parent" in proposal.notes


def test_dominated_networks_hardly_have_children(
    make: Make, wide: SearchSpace, complete: End
) -> None:
    searcher = make("evolution", wide, limit=NO_LIMIT)
    for number in range(POPULATION):
        # Even ones form a front; each odd one is dominated by the even one before.
        step = number // 2 / 10
        trial = with_objectives(
            complete(number, searcher.ask(number)), step - number % 2 / 20, 1 + step
        )
        searcher.tell(trial)
    parents = [searcher.ask(number).notes["parent"] for number in range(POPULATION, 220)]
    assert np.mean([parent % 2 == 0 for parent in parents]) > 0.9
    assert len(set(parents)) >= POPULATION / 2
