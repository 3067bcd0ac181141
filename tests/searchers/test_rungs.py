"""Rungs as people write them, and who goes on, by cases that can be worked out by hand."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.trial import Estimate, Proposal, Score, Trial
from search_space import ZOO, UserError
from searchers.rungs import Halving, Rung, ranked

THREE = Halving.parse("1@16,3@32,9@32", resolution=32)


def trial(number: int, *accuracies: float, latency_ms: float = 1.0) -> Trial:
    """A running trial with its accuracies in the rungs so far."""
    return Trial(
        number=number,
        state="running",
        proposal=Proposal(choices={}, spec=ZOO["condensenet-86"]),
        estimate=Estimate(
            macs=1,
            params=1,
            paper_flops=1,
            latency_ms=latency_ms,
            latency_low_ms=0.0,
            latency_high_ms=9.0,
        ),
        rungs=tuple(Score(accuracy=a, loss=1.0, epochs=1, wall_s=1.0) for a in accuracies),
    )


# --- Rungs as they are written ----------------------------------------------------------------


def test_pixels_are_those_of_the_rung_or_the_usual_ones() -> None:
    assert Halving.parse("2, 6", resolution=24, keep=4) == Halving(
        rungs=(Rung(epochs=2, resolution=24), Rung(epochs=6, resolution=24)), keep=4
    )
    assert [(r.epochs, r.resolution) for r in THREE.rungs] == [(1, 16), (3, 32), (9, 32)]
    assert THREE.keep == 3
    assert Halving.parse("8@8,1@32", resolution=32).rungs[1].cost == 2 * 8 * 8**2


def test_it_is_made_again_from_plain_values() -> None:
    assert Halving.from_dict(dataclasses.asdict(THREE)) == THREE


@pytest.mark.parametrize(
    ("text", "keep", "sentence"),
    [
        ("6,2", 3, r"`rungs` \(=6@32,2@32\) must begin with the cheapest: 2 epochs at 32x32 costs"),
        ("1@32,4@16", 3, r"4 epochs at 16x16 costs no more than 1 epoch at 32x32.*leave one out"),
        ("3", 3, r"`rungs` \(=3@32\) must be at least two; --epochs sets a single one"),
        ("0,2", 3, r"`epochs` \(=0\) of a rung must be at least 1"),
        ("1@0,2", 3, r"`resolution` \(=0\) of a rung must be at least 1"),
        ("2,6", 1, r"`keep` \(=1\) must be at least 2"),
        ("", 3, r"--rungs '' must be epochs of each rung"),
        ("2,six", 3, r"--rungs '2,six' must be epochs of each rung, .* 2,6 or 1@16,3@32,9@32"),
        ("2@,6", 3, "must be epochs of each rung"),
        ("-2,6", 3, "must be epochs of each rung"),
    ],
)
def test_a_broken_rule_is_a_sentence(text: str, keep: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Halving.parse(text, resolution=32, keep=keep)


# --- Who goes on ------------------------------------------------------------------------------


def decisions(accuracies: Sequence[float], keep: int = 3) -> list[bool]:
    """Of equally fast networks, each scored in the first rung after those before it."""
    halving = Halving.parse("1,2", resolution=8, keep=keep)
    trials = [trial(n, accuracy) for n, accuracy in enumerate(accuracies)]
    return [halving.goes_on(t, trials[: t.number]) for t in trials]


def test_the_first_goes_on_and_then_the_best_third() -> None:
    # 1 of 1 to 5; 2 of 6.
    assert decisions([0.1, 0.2, 0.3, 0.25, 0.4, 0.35]) == [True, True, True, False, True, True]
    assert decisions([0.6, 0.5, 0.4, 0.3, 0.2, 0.1]) == [True, *[False] * 5]


def test_keep_2_keeps_half() -> None:
    assert decisions([0.4, 0.3, 0.35, 0.38, 0.1], keep=2) == [True, False, False, True, False]


def test_of_equals_the_earlier_goes_on() -> None:
    assert decisions([0.5, 0.5, 0.5, 0.5]) == [True, False, False, False]


def test_nothing_goes_on_from_the_last_rung() -> None:
    assert not THREE.goes_on(trial(0, 0.1, 0.2, 0.3), [])


def test_each_rung_has_its_own_peers() -> None:
    others = [trial(0, 0.9), trial(1, 0.8, 0.2), trial(2, 0.7, 0.3), trial(3, 0.6)]
    assert not THREE.goes_on(trial(4, 0.65), others), "fourth of five in the first rung"
    assert THREE.goes_on(trial(4, 0.65, 0.4), others), "best of three in the second"
    assert not THREE.goes_on(trial(4, 0.65, 0.25), others)
    assert not THREE.goes_on(trial(4, 0.65, 0.1), others[:2]), "second of two"
    assert THREE.goes_on(trial(4, 0.65, 0.1), others[:1]), "the first in the second"


def test_failed_trials_count_in_the_rungs_they_were_scored_in() -> None:
    others = [
        dataclasses.replace(t, state="failed", failure="no luck")
        for t in (trial(0), trial(1, 0.5), trial(2, 0.6))
    ]
    assert not THREE.goes_on(trial(3, 0.4), others)
    assert THREE.goes_on(trial(3, 0.4), others[:1]), "one without a score is no peer"


def test_neither_order_nor_the_trial_itself_among_them_changes_a_decision() -> None:
    trials = [
        trial(n, a, latency_ms=ms) for n, (a, ms) in enumerate([(0.5, 3), (0.4, 2), (0.4, 4)])
    ]
    for order in itertools.permutations(trials):
        assert [THREE.goes_on(t, order) for t in trials] == [True, False, False]


def test_a_faster_network_may_go_on_with_less_accuracy() -> None:
    slow = [trial(n, 0.5 + n / 100, latency_ms=10.0) for n in range(5)]
    # Two of six go on: the most accurate one, and the fast one on the front beside it.
    assert THREE.goes_on(trial(5, 0.2, latency_ms=1.0), slow)
    assert not THREE.goes_on(trial(5, 0.2, latency_ms=10.0), slow)


# --- The order --------------------------------------------------------------------------------


def test_a_front_is_covered_from_its_most_accurate_end() -> None:
    #  0 at one end, 4 at the other; then 2, which is farthest from both, then 1 before 3.
    points = np.array([[0, 10], [1, 8], [4, 4], [8, 1], [10, 0]], dtype=float)
    assert ranked(points) == [0, 4, 2, 1, 3]
    assert ranked(points, 2) == [0, 4]
    assert ranked(points * [1, 1000]) == [0, 4, 2, 1, 3], "units do not matter"


def test_equal_columns_and_single_points_have_an_order() -> None:
    assert ranked(np.array([[0.5, 1.0]])) == [0]
    assert ranked(np.array([[0.5, 1.0]] * 3)) == [0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
@settings(deadline=None, derandomize=True)
def test_no_point_comes_before_one_that_dominates_it(found: list[tuple[int, int]]) -> None:
    points = np.array(found, dtype=float)
    order = ranked(points)
    assert sorted(order) == list(range(len(found)))
    for before, after in itertools.combinations(order, 2):
        a, b = points[before], points[after]
        assert not ((b <= a).all() and (b < a).any())
    assert points[order[0]][0] == points[:, 0].min()
