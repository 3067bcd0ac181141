"""Scores of a study's networks: the file they are kept in, and how they order the networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from results.metrics import write_rows
from results.trial import Trial
from results.zero_cost import KNOWN, ZeroCostRow, ranked_scores, rows_to_go_on_from
from search_space.errors import UserError


@pytest.fixture
def trials(trial: Callable[..., Trial]) -> list[Trial]:
    """Six, the more multiply-adds the more accurate."""
    made = [trial(number, accuracy=0.3 + number / 10) for number in range(6)]
    return [
        dataclasses.replace(t, estimate=dataclasses.replace(t.estimate, macs=100 + t.number))
        for t in made
    ]


def row(trial: Trial, value: float | None, score: str = "flow", **changes: object) -> ZeroCostRow:
    made = ZeroCostRow(
        trial=trial.number,
        network=trial.proposal.spec.id,
        score=score,
        value=value,
        wall_s=0.5 + trial.number,
        seed=0,
        batch=64,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_scores_and_costs_are_ranked(trials: list[Trial]) -> None:
    rows = [row(t, -(2.0**t.number)) for t in trials]
    rows += [
        row(t, v, "other") for t, v in zip(trials, (3.0, 1.0, 2.0, 5.0, 4.0, 6.0), strict=True)
    ]
    found = {ranked.score: ranked for ranked in ranked_scores(trials, rows)}
    assert list(found) == ["flow", "other", *KNOWN]
    flow, other, macs, latency = (found[n] for n in ("flow", "other", "macs", "latency_ms"))
    assert flow.spearman is not None
    assert flow.spearman.value == pytest.approx(-1)
    assert flow.wall_s == pytest.approx(3.0)
    assert other.spearman is not None
    assert other.kendall is not None
    assert other.spearman.value == pytest.approx(1 - 6 * 8 / (6 * 35))
    assert other.kendall.value == pytest.approx(9 / 15)
    assert macs.spearman is not None
    assert macs.spearman.value == pytest.approx(1)
    assert macs.given_macs is None
    assert macs.wall_s is None
    # All as fast as each other.
    assert (latency.networks, latency.spearman, latency.kendall) == (6, None, None)


def test_networks_without_a_value_are_left_out(trials: list[Trial]) -> None:
    rows = [row(t, None if t.number == 0 else t.number / 3) for t in trials]
    flow = ranked_scores(trials, rows)[0]
    assert flow.networks == 5
    assert flow.spearman is not None
    too_few = ranked_scores(trials, [row(t, 1.0 if t.number > 1 else None) for t in trials])[0]
    assert (too_few.networks, too_few.spearman) == (4, None)


def test_a_file_is_gone_on_with(trials: list[Trial], tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    assert rows_to_go_on_from(path, trials, seed=0, batch=64) == []
    rows = [row(t, None if t.number == 2 else 0.1 * t.number) for t in trials]
    write_rows(path, rows)
    assert rows_to_go_on_from(path, trials, seed=0, batch=64) == rows


def test_a_file_of_something_else_is_refused(trials: list[Trial], tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"

    def message(*rows: ZeroCostRow) -> str:
        write_rows(path, rows)
        with pytest.raises(UserError) as refused:
            rows_to_go_on_from(path, trials, seed=0, batch=64)
        return str(refused.value)

    assert "network abc as trial 1" in message(
        row(trials[0], 1.0), row(trials[1], 1.0, network="abc")
    )
    assert "as trial 17, which is none of this run" in message(
        dataclasses.replace(row(trials[0], 1.0), trial=17)
    )
    assert "--seed 3 --batch 64, asked for are --seed 0" in message(row(trials[0], 1.0, seed=3))
    assert "--seed 0 --batch 8" in message(row(trials[0], 1.0, batch=8))
    path.write_text("trial,accuracy\n1,0.5\n", encoding="utf-8")
    with pytest.raises(UserError, match="a file of ZeroCostRow records"):
        rows_to_go_on_from(path, trials, seed=0, batch=64)
