"""Importances of choices whose effect is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from results.importance import LEAST_NETWORKS, MOST_NETWORKS, importances
from results.trial import Proposal, Score, Trial
from search_space import SearchSpace
from search_space.space import Choices

TrialOf = Callable[..., Trial]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asserted is as true of few, which are quick."""
    monkeypatch.setattr("results.importance.TREES", 3)


@pytest.fixture
def drawn(space: SearchSpace, trial: TrialOf) -> Callable[..., list[Trial]]:
    """So many random networks, whose milliseconds follow from the depth alone."""

    def draw(count: int, accuracy: Callable[[Choices], float]) -> list[Trial]:
        rng = np.random.default_rng(0)
        found = []
        for number in range(count):
            choices = space.sample(rng)
            found.append(
                dataclasses.replace(
                    trial(number, accuracy(choices), 10.0 * int(choices["stage1_depth"])),
                    proposal=Proposal(choices=choices, spec=space.decode(choices)),
                )
            )
        return found

    return draw


def by_growth_rate(choices: Choices) -> float:
    return 0.05 * int(choices["stage1_growth_rate"])


def noise(seed: int) -> Callable[[Choices], float]:
    rng = np.random.default_rng(seed)
    return lambda _: rng.uniform(0.4, 0.6)


def test_what_decides_has_the_largest_share(
    space: SearchSpace, drawn: Callable[..., list[Trial]]
) -> None:
    accuracy, latency = importances(drawn(30, by_growth_rate), space.dimensions)
    assert (accuracy.objective, latency.objective) == ("accuracy", "latency_ms")
    for one, name in ((accuracy, "stage1_growth_rate"), (latency, "stage1_depth")):
        assert next(iter(one.shares)) == name
        assert one.shares[name] > 0.9
        assert one.shares[name] > one.chance
        assert sum(one.shares.values()) <= 1
        assert set(one.shares) == {d.name for d in space.dimensions}
        assert one.networks == 30


def test_what_choices_decide_only_together_is_no_share_of_one(
    space: SearchSpace, drawn: Callable[..., list[Trial]]
) -> None:
    def exclusive_or(choices: Choices) -> float:
        return float((choices["stage1_growth_rate"] == 8) != (choices["stage1_fetch"] == "dense"))

    accuracy, _ = importances(drawn(60, exclusive_or), space.dimensions)
    assert sum(accuracy.shares.values()) < 0.5
    assert max(accuracy.shares.values()) <= accuracy.chance


def test_noise_is_within_chance(space: SearchSpace, drawn: Callable[..., list[Trial]]) -> None:
    beyond = []
    for seed in range(4):
        trials = drawn(15, noise(seed))
        accuracy, _ = importances(trials, space.dimensions)
        beyond.append(max(accuracy.shares.values()) > accuracy.chance)
    assert sum(beyond) <= 1, "one of twenty is, in the mean"


def test_of_too_few_or_equal_networks_there_are_none(
    space: SearchSpace, drawn: Callable[..., list[Trial]]
) -> None:
    assert importances(drawn(LEAST_NETWORKS - 1, by_growth_rate), space.dimensions) == []
    (latency,) = importances(drawn(LEAST_NETWORKS, lambda _: 0.5), space.dimensions)
    assert latency.objective == "latency_ms"


def test_of_many_networks_some_are_taken(
    space: SearchSpace, drawn: Callable[..., list[Trial]]
) -> None:
    (accuracy, _) = importances(drawn(MOST_NETWORKS + 1, by_growth_rate), space.dimensions)
    assert accuracy.networks == MOST_NETWORKS


def test_where_no_tree_sees_a_difference_nothing_decides(
    space: SearchSpace, drawn: Callable[..., list[Trial]]
) -> None:
    trials = drawn(LEAST_NETWORKS, lambda _: 0.0)
    least = Score(accuracy=1e-200, loss=1.0, epochs=1, wall_s=1.0)
    accuracy, _ = importances(
        [dataclasses.replace(trials[0], score=least), *trials[1:]], space.dimensions
    )
    assert set(accuracy.shares.values()) == {accuracy.chance} == {0.0}


def test_another_failure_is_not_taken_for_that(
    space: SearchSpace, drawn: Callable[..., list[Trial]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no threads left")

    monkeypatch.setattr("optuna.importance.FanovaImportanceEvaluator.evaluate", fail)
    with pytest.raises(RuntimeError, match="no threads left"):
        importances(drawn(LEAST_NETWORKS, by_growth_rate), space.dimensions)


def test_only_networks_of_the_highest_rung_count(
    space: SearchSpace, drawn: Callable[..., list[Trial]]
) -> None:
    trials = drawn(LEAST_NETWORKS + 5, by_growth_rate)
    score = Score(accuracy=0.1, loss=1.0, epochs=1, wall_s=1.0)
    low = [dataclasses.replace(t, rungs=(score,)) for t in trials[:4]]
    high = [dataclasses.replace(t, rungs=(score, score)) for t in trials[4:]]
    assert importances([*low, *high], space.dimensions)[0].networks == len(high)


def test_choices_that_the_space_does_not_have_are_left_out(
    space: SearchSpace, drawn: Callable[..., list[Trial]]
) -> None:
    trials = drawn(LEAST_NETWORKS, by_growth_rate)
    narrower = space.replace(depths=((7, 8),))
    assert importances(trials, narrower.dimensions) == []
