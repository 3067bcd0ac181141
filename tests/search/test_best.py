"""``search best``: the networks of a run to take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.best import BY
from results.folder import RunFolder
from search.best import TITLES
from search.cli import main
from search_space import NetworkSpec

Json = Callable[..., Any]


def test_every_order_has_a_title() -> None:
    assert TITLES.keys() == BY.keys()


def test_by_accuracy_and_by_latency(search_json: Json, finished_run: Path) -> None:
    trials = pd.read_csv(finished_run / "trials.csv")
    found = search_json("best", str(finished_run), "-n", "3")
    assert [t["accuracy"] for t in found] == sorted(trials["accuracy"], reverse=True)[:3]
    assert NetworkSpec.from_dict(found[0]["spec"]).id == found[0]["architecture"]
    assert found[0]["number"] == search_json("status", str(finished_run))["best"]["number"]
    fastest = search_json("best", str(finished_run), "--by", "latency")
    assert [t["latency_ms"] for t in fastest] == [trials["latency_ms"].min()]


def test_only_the_last_rung_competes(rung_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = pd.read_csv(rung_run / "trials.csv")
    assert main(["best", str(rung_run), "--by", "latency", "-n", "9"]) == 0
    shown = capsys.readouterr().out
    assert "The fastest first" in shown
    rows = [line.split("│")[1].strip() for line in shown.splitlines() if line.startswith("│")]
    last = trials[trials["rungs"] == 2].sort_values("latency_ms")
    assert rows == [f"{t.number}: {t.architecture}" for t in last.itertuples()]
    assert "accuracies of different rungs do not compare" in shown


def test_the_knee(scored_run: Path, search_json: Json, capsys: pytest.CaptureFixture[str]) -> None:
    found = search_json("best", str(scored_run), "--by", "knee", "-n", "3")
    assert [t["number"] for t in found] == [1, 2, 0]
    assert main(["best", str(scored_run), "--by", "knee"]) == 0
    shown = capsys.readouterr().out
    assert "farthest above the line" in shown
    assert "80.0%" in shown


def test_what_has_no_best(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = RunFolder.open(finished_run).study().settings
    RunFolder.create(tmp_path / "run", None, settings)
    assert main(["best", str(tmp_path / "run")]) == 2
    assert "holds no scored network yet" in capsys.readouterr().err
    assert main(["best", str(finished_run), "--by", "size"]) == 2
    assert "unknown order 'size'" in capsys.readouterr().err
    assert main(["best", str(finished_run), "-n", "0"]) == 2
    assert "must be at least 1" in capsys.readouterr().err
