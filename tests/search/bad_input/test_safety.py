"""Nothing that is read can run code, and nothing listens beyond this machine."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna_dashboard
import pytest

from search.cli import main

ROOT = Path(__file__).parents[3]
PACKAGES = (
    *("search_space", "results", "searchers", "trainers", "latency_models", "search"),
    *("benchmarks", "scripts"),
)
SAFE_LOADERS = ("SafeLoader", "CSafeLoader", "_Loader")
UNSAFE = ("pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.unsafe_load", "yaml.full_load")


def _calls() -> Iterator[tuple[str, str, dict[str, str]]]:
    """File, function and named arguments of every call in the code of this project."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    named = {k.arg: ast.unparse(k.value) for k in node.keywords if k.arg}
                    yield f"{path.name}:{node.lineno}", ast.unparse(node.func), named


def test_files_are_read_without_running_their_code() -> None:
    seen = set()
    for where, function, named in _calls():
        assert function not in UNSAFE, where
        if function == "torch.load":
            assert named.get("weights_only") == "True", where
        elif function == "yaml.load":
            assert named.get("Loader", "").rpartition(".")[2] in SAFE_LOADERS, where
        elif function == "np.load":
            assert named.get("allow_pickle", "False") == "False", where
        else:
            continue
        seen.add(function)
    assert seen == {"torch.load", "yaml.load", "np.load"}, "the calls are still called so"


def test_our_loader_is_a_safe_one() -> None:
    import yaml

    from search_space.reading import _Loader

    assert issubclass(_Loader, yaml.SafeLoader)


def test_the_dashboard_listens_on_this_machine_alone(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    serve: Callable[..., None] = lambda storage, **options: asked.update(options)  # noqa: E731
    monkeypatch.setattr(optuna_dashboard, "run_server", serve)
    assert main(["dashboard", str(finished_run), "--port", "8123"]) == 0
    assert asked.pop("artifact_store") is not None, "the winner's files, kept in the run's folder"
    assert asked == {"host": "127.0.0.1", "port": 8123}


def test_no_other_code_listens() -> None:
    listening = [where for where, function, _ in _calls() if function.endswith("run_server")]
    assert [where.partition(":")[0] for where in listening] == ["dashboard.py"]
