"""A killed search goes on as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.folder import RunFolder
from results.trial import Trial
from search.cli import main

TRIALS = 5


def _trials_begun(out: Path) -> list[Trial]:
    try:
        return RunFolder.open(out).study().trials()
    except Exception:  # the study is being made
        return []


def _kill_when(
    out: Path, arguments: list[str], complete: int, sig: signal.Signals, *, rungs: int = 0
) -> int:
    """Starts a search, ends it in mid-training after so many complete trials, and so many rungs of
    the next one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "search", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in its background deaf to Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 240
    while True:
        assert time.monotonic() < deadline, "no training was seen that could be interrupted"
        trials = _trials_begun(out)
        done = sum(t.state == "complete" for t in trials)
        if (
            trials
            and done >= complete
            and trials[-1].state == "running"
            and len(trials[-1].rungs) == rungs
        ):
            process.send_signal(sig)
            break
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.communicate(timeout=60)
    return process.returncode


def _search_json(*arguments: str) -> Any:
    """In a process of its own, like the one that is killed: with as many threads."""
    done = subprocess.run(
        [sys.executable, "-m", "search", *arguments, "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("searcher", ["random", "optuna:nsga2"])
def test_sigkill_loses_nothing_and_changes_nothing(
    searcher: str,
    search_arguments: list[str],
    tmp_path: Path,
) -> None:
    # Long enough for the kill to fall into a training.
    arguments = [*search_arguments, "--trials", str(TRIALS), "--searcher", searcher]
    arguments += ["--epochs", "3"]
    out, whole = tmp_path / "killed", tmp_path / "whole"
    code = _kill_when(out, [*arguments, "--out", str(out)], 2, signal.SIGKILL)
    assert code == -signal.SIGKILL
    before = {t.number: t for t in RunFolder.open(out).study().trials() if t.score}
    assert 2 <= len(before) < TRIALS

    assert _search_json("resume", str(out))["complete"] == TRIALS
    after = {t.number: t for t in RunFolder.open(out).study().trials()}
    assert sorted(after) == list(range(TRIALS)), "every number stands once"
    assert {n: after[n] for n in before} == before, "no finished trial was run again"
    assert len({t.proposal.spec.id for t in after.values()}) == TRIALS

    assert _search_json(*arguments, "--out", str(whole))["complete"] == TRIALS
    columns = ["number", "architecture", "accuracy", "loss"]
    uninterrupted, resumed = (pd.read_csv(d / "trials.csv")[columns] for d in (whole, out))
    pd.testing.assert_frame_equal(uninterrupted, resumed)


def test_sigkill_in_the_second_rung_keeps_the_first(space_file: Path, tmp_path: Path) -> None:
    # The second rung takes seconds, so that the kill falls into it on a busy machine too.
    arguments = ["run", "--space", str(space_file), "--budget", "1M", "--batch-size", "128"]
    arguments += ["--rungs", "1@8,60@8", "--keep", "2", "--trials", "2", "--searcher", "random"]
    out, whole = tmp_path / "killed", tmp_path / "whole"
    code = _kill_when(out, [*arguments, "--out", str(out)], 0, signal.SIGKILL, rungs=1)
    assert code == -signal.SIGKILL
    before = RunFolder.open(out).study().trials()[-1]
    assert (before.state, len(before.rungs)) == ("running", 1)

    assert _search_json("resume", str(out))["complete"] == 2
    after = RunFolder.open(out).study().trials()
    resumed_trial = after[before.number]
    assert resumed_trial.rungs[0] == before.rungs[0], "not trained again: even its seconds are so"
    assert len(resumed_trial.rungs) == 2

    assert _search_json(*arguments, "--out", str(whole))["complete"] == 2
    columns = ["number", "architecture", "rungs", "rung1_accuracy", "rung2_accuracy", "loss"]
    uninterrupted, resumed = (pd.read_csv(d / "trials.csv")[columns] for d in (whole, out))
    pd.testing.assert_frame_equal(uninterrupted, resumed)


def test_ctrl_c_says_how_to_go_on(search_arguments: list[str], tmp_path: Path) -> None:
    out = tmp_path / "interrupted"
    arguments = [*search_arguments, "--trials", "50", "--epochs", "3", "--out", str(out)]
    assert _kill_when(out, arguments, 1, signal.SIGINT) == 4


def test_a_second_process_is_refused(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunFolder.open(finished_run).locked():
        assert main(["resume", str(finished_run)]) == 2
    assert "another process is working on" in capsys.readouterr().err
