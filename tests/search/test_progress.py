"""What is shown while a search runs."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from results.trial import Estimate, Proposal, Score, Trial
from search.config import RunConfig
from search.limits import Limits
from search.progress import RunDisplay, UpdatesDisplay
from search_space import ZOO, space
from searchers.rungs import Halving
from trainers.data import DataSplits, load_data

SCORE = Score(accuracy=0.25, loss=1.0, epochs=1, wall_s=1.0)
RUNNING = Trial(
    number=0,
    state="running",
    proposal=Proposal(choices={}, spec=ZOO["condensenet-86"]),
    estimate=Estimate(
        macs=1_000_000,
        params=1,
        paper_flops=1,
        latency_ms=4.0,
        latency_low_ms=3.0,
        latency_high_ms=5.0,
    ),
)


@pytest.fixture
def config(space_file: Path) -> RunConfig:
    return RunConfig(
        space=space(str(space_file)),
        limits=Limits(),
        searcher="random",
        data="digits",
        trials=4,
        halving=Halving.parse("1@8,2@16", resolution=32),
    )


@pytest.fixture(scope="module")
def data() -> DataSplits:
    return load_data("digits", resolution=16)


def test_a_terminal_shows_which_rung_is_trained(config: RunConfig, data: DataSplits) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=160)
    with RunDisplay(console) as display:
        display.started(config, data, [])
        climbing = dataclasses.replace(RUNNING, rungs=(SCORE,))
        display.training_begun(climbing)
        display.trial_step(climbing, 1, 2)
        (task,) = display._progress.tasks
        assert task.description == "networks (rung 2 of 2)"
        assert task.completed == 0.75, "one rung of two and half of the other"
        display.trial_ended(dataclasses.replace(climbing, state="complete", score=SCORE))
        assert task.completed == 1


def test_a_file_gets_a_line_per_network(config: RunConfig, data: DataSplits) -> None:
    shown = io.StringIO()
    with RunDisplay(Console(file=shown, width=160)) as display:
        display.started(config, data, [])
        display.training_begun(RUNNING)
        display.trial_step(RUNNING, 1, 2)
        ended = dataclasses.replace(RUNNING, state="complete", score=SCORE, rungs=(SCORE,))
        display.trial_ended(ended)
    assert "Scored   after 1 epoch at 8x8 or 2 epochs at 16x16 on 1,077 images" in shown.getvalue()
    assert "Rungs    1 network in 3 goes on from each training" in shown.getvalue()
    assert "[1/4] network 0: 25.0% in rung 1, 1.00M MACs, 4.0 ms" in shown.getvalue()


def test_without_rungs_none_is_named(config: RunConfig, data: DataSplits) -> None:
    shown = io.StringIO()
    with RunDisplay(Console(file=shown, width=160)) as display:
        display.started(dataclasses.replace(config, halving=None), data, [])
        display.trial_ended(dataclasses.replace(RUNNING, state="complete", score=SCORE))
    assert "Scored   after 3 epochs at 32x32 on 1,077 images, condensed" in shown.getvalue()
    assert "ung" not in shown.getvalue()


def test_a_bar_goes_on_where_a_training_is_taken_up() -> None:
    training: Any = SimpleNamespace(step=2, steps=4, recipe=SimpleNamespace(batch_size=8))
    shown = io.StringIO()
    with UpdatesDisplay[Any](Console(file=shown, force_terminal=True, width=160)) as display:
        display._begin(training)
        training.step = 3
        display.updated(training)
        (task,) = display._progress.tasks
    assert (task.completed, task.total) == (3, 4)
    assert task.fields["state"].endswith(" images/s")
    assert "Resumed  after update 2 of 4" in shown.getvalue()
