"""Folders of runs, and the storages behind them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

POINTERS = {
    "empty": ("", "must name the `study`"),
    "list": ("[]", "must name the `study`"),
    "no-study": ("storage: null", "must name the `study`"),
    "other-study": ("study: another", "has no study named 'another'"),
    "open": ("study: [", "not YAML"),
    "deep": ("[" * 3000, "nested too deeply"),
    "code": ("!!python/object/apply:os.mkdir [made]", "python/object"),
    "twice": ("study: a\nstudy: b", "the key 'study' stands twice"),
    "backend": ("study: a\nstorage: moon://x", "cannot be opened"),
    "elsewhere": ("study: a\nstorage: sqlite:////nowhere/x.db", "cannot be opened"),
}
COMMANDS = ("status", "resume", "report", "retrain", "scores", "dashboard")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", POINTERS)
def test_run_folders_whose_pointer_is_bad(
    command: str, case: str, finished_run: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    text, words = POINTERS[case]
    shutil.copytree(finished_run, tmp_path / "folder")
    (tmp_path / "folder" / "run.yaml").write_text(text, encoding="utf-8")
    refused([command, "folder"], words)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", ["missing", "text", "empty"])
def test_run_folders_whose_study_is_damaged(
    command: str, case: str, finished_run: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    shutil.copytree(finished_run, tmp_path / "folder")
    study = tmp_path / "folder" / "study.db"
    study.unlink()
    if case != "missing":
        study.write_bytes(b"hello" * 500 if case == "text" else b"")
    words = {"missing": "the run has no study", "text": "not a database", "empty": "has no study"}
    refused([command, "folder"], "study.db", words[case])


_SETTINGS = "UPDATE study_user_attributes SET value_json = {} WHERE key = 'settings'"
DAMAGES = {
    "attribute": (
        "UPDATE trial_user_attributes SET value_json = '{' WHERE key = 'spec'",
        "is damaged: Expecting property name",
    ),
    "no-attribute": (
        "DELETE FROM trial_user_attributes WHERE key = 'notes'",
        "is damaged: trial 0 lacks the attribute 'notes'",
    ),
    "other-attribute": (
        "UPDATE trial_user_attributes SET value_json = '7' WHERE key = 'spec'",
        "is damaged: trial 0 cannot be read",
    ),
    "state": ("UPDATE trials SET state = 'LOST' WHERE number = 1", "is damaged: 'LOST' is not"),
    "settings": (_SETTINGS.format("'{'"), "is damaged: Expecting property name"),
    "list": (_SETTINGS.format("'[1]'"), "is damaged: its attribute `settings` is [1]"),
    "no-space": (_SETTINGS.format("json_remove(value_json, '$.space')"), "they lack 'space'"),
    "more": (_SETTINGS.format("json_set(value_json, '$.x', 1)"), "they hold the unknown 'x'"),
    "trials": (
        _SETTINGS.format("json_set(value_json, '$.trials', 'many')"),
        "`trials` (='many') must be of type int",
    ),
    "macs": (
        _SETTINGS.format("json_set(value_json, '$.limits.macs', 'few')"),
        "`macs` (='few') must be a number",
    ),
    "no-device": (_SETTINGS.format("json_remove(value_json, '$.limits.device')"), "they lack"),
    "rungs": (_SETTINGS.format("json_set(value_json, '$.halving', 3)"), "settings are damaged"),
}


@pytest.mark.parametrize("command", ["status", "resume"])
@pytest.mark.parametrize("case", DAMAGES)
def test_studies_that_are_damaged_inside(
    command: str, case: str, finished_run: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    shutil.copytree(finished_run, tmp_path / "folder")
    statement, words = DAMAGES[case]
    with closing(sqlite3.connect(tmp_path / "folder" / "study.db")) as database:
        assert database.execute(statement).rowcount > 0
        database.commit()
    refused([command, "folder"], words)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["nowhere", "NET", "."])
def test_what_is_no_run(command: str, name: str, refused: Callable[..., str]) -> None:
    refused([command, name], "holds no run", "name a folder that `search run` wrote")


STORAGES = {
    "": "it is no URL",
    "sqlite": "it is no URL",
    "journal.log": "it is no URL",
    "moon://x": "sqlalchemy.dialects:moon",
    "http://example.invalid": "sqlalchemy.dialects:http",
    "file:///x": "sqlalchemy.dialects:file",
    "redis://127.0.0.1:1": "'redis://127.0.0.1:1' cannot be opened",
    "oracle://x/y": "'oracle://x/y' cannot be opened",
    "sqlite:////nowhere/x.db": "unable to open database file",
    "sqlite:///.": "unable to open database file",
    "sqlite://": "it names no file",
    "sqlite:///:memory:": "it names no file",
    "sqlite:///file:x.db?mode=memory&uri=true": "file: names are not read here",
    "postgresql://u@h:abc/x": "it is no URL",
    "postgresql://[::1/x": "it is no URL",
    "postgresql+psycopg://u@127.0.0.1:1/x": "cannot be opened: (psycopg.OperationalError)",
}


@pytest.mark.parametrize("url", STORAGES)
def test_storages_that_cannot_be_opened(
    url: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    said = refused(["run", "--space", "SPACE", "--out", "out", "--storage", url], STORAGES[url])
    assert "it must be a URL such as sqlite:///FILE" in said
    assert not (tmp_path / "out").exists()


OUTS = {
    "file": ("taken", "cannot be written"),
    "below-a-file": ("taken/out", "cannot be written"),
    "long": ("x" * 300, "File name too long"),
    "empty": ("", "must name a file or a folder, and is empty"),
}


@pytest.mark.parametrize("command", ["run", "train", "export", "bench-kit"])
@pytest.mark.parametrize("case", OUTS)
def test_where_nothing_can_be_written(
    command: str, case: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    name, words = OUTS[case]
    lines = {
        "run": ["run", "--space", "SPACE", "--trials", "1"],
        "train": ["train", "NET", "--recipe", "quick", "--epochs", "1"],
        "export": ["export", "NET", "--format", "state_dict"],
        "bench-kit": ["latency", "bench-kit", "--networks", "NET", "--runtime", "ncnn"],
    }
    said = refused([*lines[command], f"--out={name}"])
    assert words in said or "taken" in said
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"
