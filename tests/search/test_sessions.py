"""What a process notes of itself."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from latency_models.devices import DATA, DEVICES, device
from results.folder import RunFolder
from search.cli import main
from search.config import RunConfig
from search.runner import prepare
from search.sessions import PACKAGES, device_fingerprint, session
from trainers.data import load_data


def test_a_run_notes_what_it_was_begun_with(
    finished_run: Path, search_arguments: list[str]
) -> None:
    (noted,) = RunFolder.open(finished_run).study().sessions
    words = ["search", *search_arguments, "--trials", "4", "--out", str(finished_run)]
    assert list(noted.command) == words
    assert noted.versions["torch"] == version("torch") == torch.__version__.partition("+")[0]
    assert set(noted.versions) == {"python", *PACKAGES}
    data = load_data("digits", resolution=8)
    assert (noted.data, noted.split) == (data.fingerprint, data.split)
    assert data.validation is not None
    assert noted.training_images == len(data.train)
    assert noted.validation_images == len(data.validation)


@pytest.mark.parametrize("key", DEVICES)
def test_a_device_s_fingerprint_is_that_of_its_file(key: str) -> None:
    file = DATA / f"{key.replace('/', '_')}.yaml"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest.startswith(device_fingerprint(device(key)))


@pytest.mark.parametrize("joined", [False, True])
def test_passwords_are_not_noted(finished_run: Path, joined: bool) -> None:
    config = RunConfig.from_settings(RunFolder.open(finished_run).study().settings)
    url = "postgresql+psycopg://me:secret@host/db"
    words = [f"--storage={url}"] if joined else ["--storage", url]
    noted = session(config, prepare(config), ["search", "run", *words])
    assert "secret" not in noted.command_line
    assert "postgresql+psycopg://me@host/db" in noted.command_line


def test_each_process_is_noted(
    search_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    assert main([*search_arguments, "--trials", "1", "--out", out]) == 0
    assert main(["resume", out, "--trials", "2"]) == 0
    capsys.readouterr()
    commands = [s.command[1] for s in RunFolder.open(tmp_path / "run").study().sessions]
    assert commands == ["run", "resume"]
