"""What one process knows of a study, against what looking through all of its trials tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from results.study import Study
from results.trial import Estimate, Proposal, Score, Trial
from results.urls import sqlite_url
from search.board import Board
from search_space import SearchSpace, space

WANTED = 4
NETWORKS = 20
"""Enough that more than are wanted are begun, and few enough that some are begun twice."""


@pytest.fixture
def tiny(space_file: Path) -> SearchSpace:
    return space(str(space_file))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(sqlite_url(tmp_path / "s.db"), "run", {})


@pytest.fixture
def start(tiny: SearchSpace) -> Callable[[Study, int], Trial]:
    """Begins one of ``NETWORKS`` networks."""
    rng = np.random.default_rng(0)
    drawn = [tiny.sample(rng) for _ in range(NETWORKS)]
    networks = [Proposal(choices=choices, spec=tiny.decode(choices)) for choices in drawn]
    estimate = Estimate(
        macs=1, params=1, paper_flops=1, latency_ms=1.0, latency_low_ms=1.0, latency_high_ms=1.0
    )

    def begun(study: Study, network: int) -> Trial:
        return study.start(tiny, networks[network], estimate, {}, "somebody")

    return begun


def looked_through(trials: Sequence[Trial], trial: Trial) -> str | None:
    """Why a trial is superfluous, from the definition."""
    lower = [t for t in trials if t.number < trial.number]
    same = [
        t for t in lower if t.state != "withdrawn" and t.proposal.spec.id == trial.proposal.spec.id
    ]
    if same:
        return f"trial {same[0].number} is the same network"
    if sum(t.state in ("complete", "running") for t in lower) >= WANTED:
        return f"{WANTED} others were begun before"
    return None


@pytest.mark.parametrize("seed", range(3))
def test_what_is_counted_is_what_is_there(
    seed: int, study: Study, start: Callable[[Study, int], Trial]
) -> None:
    rng = np.random.default_rng(seed)
    board = Board(study, WANTED)
    reasons = set()
    for _ in range(40):
        running = [t for t in study.trials() if t.state == "running"]
        what = rng.choice(["start", "start", "complete", "fail", "withdraw"])
        if what == "start" or not running:
            start(study, int(rng.integers(NETWORKS)))
        elif what == "complete":
            score = Score(accuracy=0.5, loss=1.0, epochs=1, wall_s=1.0)
            study.complete(running[rng.integers(len(running))], score)
        elif what == "fail":
            study.fail(running[rng.integers(len(running))], "no luck")
        else:
            study.withdraw(running[rng.integers(len(running))], "too many")
        before = {number for number, t in board.trials.items() if t.state != "running"}
        ended = board.read()
        trials = study.trials()
        assert list(board.trials.values()) == trials
        assert board.next_number == len(trials)
        assert {t.number for t in ended} == {
            t.number for t in trials if t.state != "running"
        } - before
        assert list(board.running) == [t for t in trials if t.state == "running"]
        complete = sum(t.state == "complete" for t in trials)
        assert board.complete == complete
        assert board.done == (complete >= WANTED)
        assert board.has_room == (complete + len(board.running) < WANTED)
        for trial in trials:
            assert board.superfluous(trial) == looked_through(trials, trial)
            reasons.add(str(board.superfluous(trial)).split()[-1])
    assert reasons == {"None", "network", "before"}


def test_a_trial_that_is_put_counts_before_it_is_read(
    study: Study, start: Callable[[Study, int], Trial]
) -> None:
    """Those between may have been begun by others meanwhile, and are not known yet."""
    board = Board(study, WANTED)
    start(study, 0)
    ours = start(study, 1)
    board.put(ours)
    assert board.next_number == 2
    assert board.superfluous(ours) is None
    assert list(board.running) == [ours]
    board.read()
    again = dataclasses.replace(ours, proposal=board.trials[0].proposal)
    assert board.superfluous(again) == "trial 0 is the same network"
