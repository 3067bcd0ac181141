"""A small space and short trainings, so that whole runs take seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.cli import main

SPACE = {
    "name": "tiny",
    "image_size": 32,
    "classes": 10,
    "stem_stride": 1,
    "depths": [[1, 2], [1, 2, 3]],
    "growth_rates": [[4, 8], [4, 8, 12]],
    "groups": [1, 2, 4],
    "condense_factors": [1, 2, 4],
    "sparse_factors": [1, 2, 4],
    "sfr": ["none", "all"],
    "fetches": ["dense", "exponential-2"],
}
QUICK = ("--epochs", "1", "--resolution", "8", "--batch-size", "128", "--seed", "0")


@pytest.fixture(scope="session")
def space_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def search_arguments(space_file: Path) -> list[str]:
    """``search run`` in the tiny space under 1 M MACs."""
    return ["run", "--space", str(space_file), "--budget", "1M", *QUICK]


@pytest.fixture(scope="session")
def finished_run(search_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with four networks."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    assert main([*search_arguments, "--trials", "4", "--out", str(out)]) == 0
    return out


@pytest.fixture
def search_json(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the command with ``--json`` and returns what it printed, parsed."""

    def call(*arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call
