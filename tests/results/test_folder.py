"""The folder of a run: found again, moved, locked, and never half written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from results.folder import RunFolder, write_atomically
from results.trial import Trial
from results.urls import sqlite_url
from search_space import NetworkSpec, UserError

TrialOf = Callable[..., Trial]


def with_study(path: Path, storage: str | None = None) -> RunFolder:
    """A new run whose study says where it was made."""
    return RunFolder.create(path, storage, {"made": str(path)})


def files(path: Path) -> set[str]:
    found = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    return found - {".lock"}


# --- Making and finding -----------------------------------------------------------------------


def test_a_run_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "first"
    with_study(path)
    assert files(path) == {"run.yaml", "study.db"}
    found = RunFolder.open(path)
    assert found.study_name == "first"
    assert found.storage == sqlite_url(path / "study.db")
    assert found.study().settings == {"made": str(path)}
    assert found.best == path / "best" / "architecture.yaml"


@pytest.mark.parametrize("name", ["2024", "null", "1e3", "yes", "a: b", "[x]", "with space"])
def test_any_name_of_a_folder_names_its_study(tmp_path: Path, name: str) -> None:
    with_study(tmp_path / name)
    assert RunFolder.open(tmp_path / name).study().name == name


def test_a_relative_folder_is_named_after_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with_study(Path())
    assert RunFolder.open(tmp_path / "here").study().name == "here"


def test_a_folder_may_hold_other_files_but_no_other_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    RunFolder.must_be_new(tmp_path)
    RunFolder.create(tmp_path, None, {})
    for attempt in (RunFolder.must_be_new, lambda path: RunFolder.create(path, None, {})):
        with pytest.raises(UserError, match="holds a run already; continue it with `search resume"):
            attempt(tmp_path)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"the output folder .*file/run cannot be written"):
        RunFolder.create(tmp_path / "file" / "run", None, {})


def test_a_moved_folder_takes_its_study_along(tmp_path: Path) -> None:
    with_study(tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "new")
    found = RunFolder.open(tmp_path / "new")
    assert found.storage == sqlite_url(tmp_path / "new" / "study.db")
    assert found.study().name == "old"
    assert found.study().settings == {"made": str(tmp_path / "old")}
    assert not (tmp_path / "old").exists()


def test_a_study_elsewhere_is_found_by_its_url(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "shared.db")
    for name in ("one", "two"):
        with_study(tmp_path / name, url)
    for name in ("one", "two"):
        found = RunFolder.open(tmp_path / name)
        assert found.storage == url
        assert found.study().settings == {"made": str(tmp_path / name)}
        assert files(tmp_path / name) == {"run.yaml"}


def test_the_pointer_is_readable(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "own", None, {})
    elsewhere = sqlite_url(tmp_path / "s.db")
    RunFolder.create(tmp_path / "other", elsewhere, {})
    own, other = (
        yaml.safe_load((tmp_path / name / "run.yaml").read_text(encoding="utf-8"))
        for name in ("own", "other")
    )
    assert own == {"study": "own", "storage": None}
    assert other == {"study": "other", "storage": elsewhere}


def test_a_folder_without_a_run_says_what_was_looked_for(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"holds no run: .*run\.yaml was looked for"):
            RunFolder.open(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"study: [", "cannot be read"),
        (b"\xff\xfe\xff", "cannot be read"),
        (b"", "must name the `study`"),
        (b"- study", "must name the `study`"),
        (b"storage: sqlite:///x.db", "must name the `study`"),
        (b"study: 7", "must name the `study`"),
    ],
)
def test_a_broken_pointer_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(UserError, match=rf"run\.yaml: {reason}"):
        RunFolder.open(tmp_path)


def test_a_missing_database_is_not_made_anew(tmp_path: Path) -> None:
    folder = with_study(tmp_path / "run")
    (tmp_path / "run" / "study.db").unlink()
    with pytest.raises(UserError, match=r"study\.db was looked for and does not exist"):
        folder.study()
    assert not (tmp_path / "run" / "study.db").exists()


# --- The lock ---------------------------------------------------------------------------------


def test_a_second_handle_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, None, {})
    one, other = RunFolder.open(tmp_path), RunFolder.open(tmp_path)
    with (
        one.locked(),
        pytest.raises(UserError, match="another process is working on"),
        other.locked(),
    ):
        pytest.fail("two are inside")
    with other.locked(), pytest.raises(UserError, match="wait for it"), one.locked():
        pytest.fail("two are inside")


def test_a_process_that_died_leaves_no_lock(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, None, {})
    dying = (
        "import fcntl, os, sys\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
        "os._exit(9)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", dying, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with (
            pytest.raises(UserError, match="another process"),
            RunFolder(tmp_path, study_name="run", storage=None).locked(),
        ):
            pytest.fail("two are inside")
        process.communicate(timeout=60)
        assert process.returncode == 9
    entered = []
    with RunFolder(tmp_path, study_name="run", storage=None).locked():
        entered.append(True)
    assert entered


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, None, {})
    with pytest.raises(ZeroDivisionError), folder.locked():
        _ = 1 / 0
    entered = []
    with folder.locked():
        entered.append(True)
    assert entered


# --- What people take away --------------------------------------------------------------------


def test_all_trials_the_front_and_the_best_are_written(tmp_path: Path, trial: TrialOf) -> None:
    folder = RunFolder.create(tmp_path, None, {})
    trials = [trial(0, 0.5, 2.0), trial(1, 0.4, 3.0), trial(2, 0.75, 9.0), trial(3, None)]
    folder.write_results(trials)
    results = {"trials.csv", "pareto.csv", "best/architecture.yaml"}
    assert files(tmp_path) == {"run.yaml", "study.db"} | results
    assert pd.read_csv(tmp_path / "trials.csv")["number"].tolist() == [0, 1, 2, 3]
    front = pd.read_csv(tmp_path / "pareto.csv")
    assert front["number"].tolist() == [0, 2]
    assert front["accuracy"].tolist() == [0.5, 0.75]
    assert {"macs", "params", "latency_ms"} <= set(front.columns)


def test_the_best_architecture_reads_back_as_the_same_network(
    tmp_path: Path, trial: TrialOf
) -> None:
    folder = RunFolder.create(tmp_path / "run", None, {})
    best = trial(2, 0.75, 9.0)
    folder.write_results([trial(0, 0.5, 2.0), best])
    assert NetworkSpec.load(folder.best) == best.proposal.spec
    first = folder.best.read_text(encoding="utf-8").splitlines()[0]
    assert first == (
        "# Trial 2 of run: proxy accuracy 0.7500, 1234567 MACs, 8910 parameters, 9.0 ms predicted."
    )


def test_results_are_written_anew_each_time(tmp_path: Path, trial: TrialOf) -> None:
    folder = RunFolder.create(tmp_path, None, {})
    folder.write_results([trial(0, 0.5, 2.0)])
    folder.write_results([trial(0, 0.5, 2.0), trial(1, 0.6, 1.0)])
    assert pd.read_csv(tmp_path / "trials.csv")["number"].tolist() == [0, 1]
    assert pd.read_csv(tmp_path / "pareto.csv")["number"].tolist() == [1]
    assert NetworkSpec.load(folder.best) == trial(1).proposal.spec


@pytest.mark.parametrize("numbers", [[], [0, 1]])
def test_without_a_score_there_is_no_best(
    tmp_path: Path, trial: TrialOf, numbers: list[int]
) -> None:
    folder = RunFolder.create(tmp_path, None, {})
    folder.write_results([trial(n, None) for n in numbers])
    assert files(tmp_path) == {"run.yaml", "study.db", "trials.csv", "pareto.csv"}
    assert len(pd.read_csv(tmp_path / "trials.csv")) == len(numbers)
    assert pd.read_csv(tmp_path / "pareto.csv").empty


# --- write_atomically -------------------------------------------------------------------------


def test_a_file_is_replaced_and_nothing_else_left(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    for text in ("old", "nèw"):
        write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
        assert files(tmp_path) == {"file.txt"}
    write_atomically(path, b"\x89PNG")
    assert path.read_bytes() == b"\x89PNG"


def test_a_write_that_dies_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"


def test_a_failure_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file.txt"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(path, "text")
    assert caught.value.filename == str(path)


def test_what_a_killed_process_left_half_made_is_made_anew(tmp_path: Path) -> None:
    """The pointer is written last: without it there is no run, whatever study stands there."""
    with_study(tmp_path / "run")
    (tmp_path / "run" / "run.yaml").unlink()
    with pytest.raises(UserError, match="holds no run"):
        RunFolder.open(tmp_path / "run")
    again = RunFolder.create(tmp_path / "run", None, {"made": "anew"})
    assert again.study().settings == {"made": "anew"}
