"""``search list``: the runs below a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from search.cli import main

Json = Callable[..., Any]


@pytest.fixture
def runs(finished_run: Path, rung_run: Path, tmp_path: Path) -> Path:
    """A folder with two runs, one of them deeper, and a folder that is none."""
    shutil.copytree(finished_run, tmp_path / "finished")
    shutil.copytree(rung_run, tmp_path / "more" / "rungs")
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_runs_at_any_depth(runs: Path, search_json: Json) -> None:
    first, second = search_json("list", str(runs))
    assert [first["run"], second["run"]] == [str(runs / "finished"), str(runs / "more" / "rungs")]
    assert (first["space"], first["limits"], first["data"]) == ("tiny", "1.00M MACs", "digits")
    states = ("trials", "complete", "running", "failed")
    assert [first[name] for name in states] == [4, 4, 0, 0]
    assert first["best"] == search_json("status", first["run"])["best"]
    assert second["complete"] == 5
    assert search_json("list", first["run"]) == [first], "a run may be named itself"


def test_when_a_run_was_last_written(runs: Path, search_json: Json) -> None:
    for path in (runs / "finished").iterdir():
        if path.is_file():
            os.utime(path, (10**9, 10**9))
    for _ in range(2):  # reading does not write
        found = datetime.fromisoformat(search_json("list", str(runs))[0]["last_written"])
        assert found == datetime.fromtimestamp(10**9, tz=timezone.utc)


def test_the_same_in_words(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs.parent)
    runs.rename("runs")
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "runs/finished" in shown
    assert "4 of 4" in shown
    assert "2 runs below runs" in shown


def test_a_run_that_cannot_be_read_does_not_hide_the_others(
    runs: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "finished" / "study.db").unlink()
    first, second = search_json("list", str(runs))
    assert "the run has no study" in first["error"]
    assert second["complete"] == 5
    assert main(["list", str(runs)]) == 0
    assert "cannot be read: " in capsys.readouterr().out


def test_no_runs_and_no_folder(
    tmp_path: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search_json("list", str(tmp_path)) == []
    assert main(["list", str(tmp_path / "missing")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_list_imports_no_torch(runs: Path) -> None:
    code = (
        "import sys\n"
        "from search.cli import main\n"
        f"code = main(['list', {str(runs)!r}])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
