"""Storages by their URLs."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from results.patience import StorageFailed, storage_failures
from results.storage import open_storage
from results.study import Study
from results.urls import absolute_url
from search_space import UserError


def test_a_journal_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    urls = ("journal:s.log", f"journal:{tmp_path}/s.log", f"journal://{tmp_path}/s.log")
    assert {absolute_url(url) for url in urls} == {f"journal://{tmp_path}/s.log"}
    Study.create(urls[0], "run", {"version": 1})
    for url in urls:
        assert Study.load(url, "run").settings == {"version": 1}


def test_a_journal_without_a_file_is_refused() -> None:
    with pytest.raises(UserError, match="'journal:' cannot be opened: it names no file"):
        absolute_url("journal:")
    with pytest.raises(UserError, match=r"'journal:/no/such/s\.log' cannot be opened: .*No such"):
        open_storage("journal:/no/such/s.log")


@pytest.mark.parametrize("content", ["milk, bread\n" * 3, '{"a": 1}\n', "[1]\n", "1\n2\n"])
def test_a_file_that_is_no_journal_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="cannot be opened: "):
        open_storage(f"journal:{path}")
    assert path.read_text(encoding="utf-8") == content


def test_a_line_that_a_killed_process_left_in_part_ends_nothing(tmp_path: Path) -> None:
    url = f"journal:{tmp_path}/s.log"
    Study.create(url, "run", {"version": 1})
    with (tmp_path / "s.log").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"op_code": 2})[:5])
    study = Study.load(url, "run")
    assert study.settings == {"version": 1}
    study.count_rejected({"macs": 1})
    study.count_rejected({"macs": 1})
    assert Study.load(url, "run").rejected == {"macs": 2}


def test_a_failure_is_a_sentence_without_the_password() -> None:
    url = "postgresql+psycopg://me:secret@host/db"
    error = optuna.exceptions.StorageInternalError("commit failed")
    error.__cause__ = RuntimeError("the disk is full\nsecond line")
    with pytest.raises(StorageFailed) as caught, storage_failures(url):
        raise error
    assert "failed: the disk is full; what it holds is kept" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_fails_is_the_storages() -> None:
    with pytest.raises(StorageFailed, match="full"), storage_failures("journal:s.log"):
        raise OSError("full")
