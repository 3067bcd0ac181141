"""Searches judged by what they trained in the last rung."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.searches import CHANCE, WAYS, judged
from results.trial import Estimate, Proposal, Score, Trial
from search_space import ZOO


def trial(number: int, accuracy: float, latency_ms: float, *, rungs: int = 0) -> Trial:
    score = Score(accuracy=accuracy, loss=1.0, epochs=1, wall_s=1.0)
    return Trial(
        number=number,
        state="complete",
        proposal=Proposal(choices={}, spec=ZOO["condensenet-86"]),
        estimate=Estimate(
            macs=1,
            params=1,
            paper_flops=1,
            latency_ms=latency_ms,
            latency_low_ms=0.0,
            latency_high_ms=latency_ms,
        ),
        score=score,
        rungs=(score,) * rungs,
    )


def test_the_share_of_the_rectangle_that_is_dominated() -> None:
    perfect = judged({"a": [trial(0, 1.0, 0.0)]}, 10.0)["a"]
    assert perfect["hypervolume"] == pytest.approx(1)
    half = judged({"a": [trial(0, 1.0, 5.0), trial(1, CHANCE, 0.0)]}, 10.0)["a"]
    assert half["hypervolume"] == pytest.approx(0.5)
    assert (half["networks"], half["best_accuracy"]) == (2, 1.0)


def test_only_the_last_rung_counts_and_failures_do_not() -> None:
    trials = [trial(0, 0.9, 1.0, rungs=1), trial(1, 0.5, 5.0, rungs=2)]
    failed = dataclasses.replace(trial(2, 0.9, 1.0), state="failed", score=None, failure="nan")
    found = judged({"a": [*trials, failed]}, 10.0)["a"]
    assert (found["networks"], found["in_last_rung"], found["best_accuracy"]) == (2, 1, 0.5)
    assert found["hypervolume"] == pytest.approx((0.5 - CHANCE) * 0.5 / (1 - CHANCE))


def test_a_run_without_networks_has_no_area() -> None:
    assert judged({"a": []}, 10.0)["a"]["hypervolume"] == 0


def test_every_way_differs() -> None:
    assert len(set(WAYS.values())) == len(WAYS) >= 2
