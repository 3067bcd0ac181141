"""What ``search status`` tells of runs with and without rungs, finished and unfinished."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.folder import RunFolder
from results.ownership import Owner
from search.cli import main
from search.config import RunConfig
from search.limits import Limits
from search_space import SPACES
from searchers.rungs import Halving


def test_a_run_without_rungs(search_json: Callable[..., Any], finished_run: Path) -> None:
    found = search_json("status", str(finished_run))
    assert (found["complete"], found["running"], found["failed"], found["trials"]) == (4, 0, 0, 4)
    trials = pd.read_csv(finished_run / "trials.csv")
    assert found["best"]["accuracy"] == trials["accuracy"].max()
    assert found["rejected"] == RunFolder.open(finished_run).study().rejected
    assert "rungs" not in found
    assert "rungs" not in trials.columns


def test_rungs_are_counted_and_correlated(search_json: Callable[..., Any], rung_run: Path) -> None:
    found = search_json("status", str(rung_run))
    trials = pd.read_csv(rung_run / "trials.csv")
    first, second = found["rungs"]
    assert (first["epochs"], first["resolution"], first["scored"]) == (1, 8, 5)
    assert first["went_on"] == second["scored"] == (trials["rungs"] == 2).sum() >= 2
    assert first["best_accuracy"] == trials["rung1_accuracy"].max()
    (correlation,) = found["rank_correlation"]
    assert (correlation["lower"], correlation["trials"]) == (1, second["scored"])
    front = pd.read_csv(rung_run / "pareto.csv")
    assert set(front["rungs"]) == {2}, "only those of the highest rung compete"
    assert found["best"]["accuracy"] == trials["rung2_accuracy"].max() == front["accuracy"].max()


def test_the_same_in_words(rung_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(rung_run)]) == 0
    shown = capsys.readouterr().out
    assert "5 complete, 0 running, 0 failed; 5 to be scored" in shown
    assert "1 epoch at 8x8" in shown
    assert "Rank correlation of rungs 1 and 2: " in shown


def test_the_summary_says_who_is_compared(
    rung_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(rung_run)]) == 0
    shown = capsys.readouterr().out
    assert "the highest rung reached, 2 of 2 (2 epochs at 8x8)" in shown
    assert "accuracies of different rungs do not compare" in shown
    assert "Rank correlation of rungs 1 and 2: " in shown


def test_the_time_that_is_left(
    search_json: Callable[..., Any],
    finished_run: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert search_json("status", str(finished_run))["remaining"]["eta_s"] == 0
    run = shutil.copytree(finished_run, tmp_path / "run")
    study = RunFolder.open(run).study()
    study.replace_settings({**study.settings, "trials": 10})
    left = search_json("status", str(run))["remaining"]
    mean_s = pd.read_csv(run / "trials.csv")["wall_s"].mean()
    assert (left["networks"], left["training"], left["eta_s"]) == (6, 0, None)
    assert left["seconds_each"] == pytest.approx(mean_s)
    assert left["training_s"] == pytest.approx(6 * mean_s)
    assert main(["status", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "time left    nobody trains; " in shown
    assert f"search resume {run}" in shown
    # As while a search goes on: this process has one of the missing networks in hand.
    first = study.trials()[0]
    study.start(
        RunConfig.from_settings(study.settings).space,
        first.proposal,
        first.estimate,
        {},
        str(Owner.here()),
    )
    left = search_json("status", str(run))["remaining"]
    assert (left["training"], left["eta_s"]) == (1, pytest.approx(6 * mean_s))
    assert main(["status", str(run)]) == 0
    assert "of training each in the mean, 1 at once)" in capsys.readouterr().out


def test_before_anything_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RunConfig(
        space=SPACES["cifar-32"],
        limits=Limits(),
        searcher="random",
        data="digits",
        trials=9,
        halving=Halving.parse("1@8,2@8", resolution=8),
    )
    RunFolder.create(tmp_path / "run", None, config.to_settings())
    assert main(["status", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "0 complete, 0 running, 0 failed; 9 to be scored" in shown
    assert "none yet" in shown
    assert "not known before the first network is scored" in shown
    assert "no network has been scored in two yet" in shown


def test_status_imports_no_torch(rung_run: Path) -> None:
    code = (
        "import sys\n"
        "from search.cli import main\n"
        f"code = main(['status', {str(rung_run)!r}])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "5 complete" in done.stdout
