"""What searchers are told where the best accuracy alone is sought."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from results.trial import Proposal, Trial
from search_space import SearchSpace
from searchers import Known, Searcher
from searchers.aims import AIMS, MOST_COST, known_for, most_cost, told_for


@pytest.fixture
def trials(
    make: Callable[..., Searcher], complete: Callable[[int, Proposal], Trial], small: SearchSpace
) -> list[Trial]:
    """Of networks that cost differently."""
    searcher = make("random", small)
    return [complete(number, searcher.ask(number)) for number in range(4)]


def test_a_front_is_sought_with_everything_as_it_is(trials: list[Trial]) -> None:
    assert [told_for("front", trial) for trial in trials] == trials
    known = Known(cost=3.0, inputs={"macs": 5.0})
    assert known_for("front", known) is known
    assert most_cost("front") is None


def test_for_the_best_accuracy_all_networks_cost_the_same(trials: list[Trial]) -> None:
    assert len({trial.objectives[1] for trial in trials}) > 1
    told = [told_for("accuracy", trial) for trial in trials]
    assert len({trial.objectives[1] for trial in told}) == 1
    assert [t.objectives[0] for t in told] == [t.objectives[0] for t in trials]
    assert [t.proposal for t in told] == [t.proposal for t in trials]
    assert [t.estimate.macs for t in told] == [t.estimate.macs for t in trials]


def test_what_a_network_costs_may_still_tell_of_its_accuracy() -> None:
    known = known_for("accuracy", Known(cost=3.0, inputs={"macs": 5.0}))
    assert known.inputs == {"macs": 5.0}
    assert known.cost < MOST_COST == most_cost("accuracy")


def test_there_are_two_aims() -> None:
    assert AIMS == ("front", "accuracy")
