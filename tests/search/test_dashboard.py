"""The study in optuna-dashboard, seen with a real browser."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine: the page cannot be opened"
)


@contextmanager
def _served(run: Path) -> Iterator[str]:
    """The address that ``search dashboard`` prints for a run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "search", "dashboard", str(run), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stderr is not None
        line = server.stdout.readline()
        for said in server.stderr:
            if "Listening on" in said:
                break
        yield line.split()[1]
    finally:
        server.terminate()
        server.communicate(timeout=30)


@pytest.fixture
def page(finished_run: Path) -> Iterator[str]:
    """Where a finished run is shown."""
    with _served(finished_run) as address:
        yield address


def _open(address: str, profile: Path) -> str:
    """The page as the browser has drawn it after running its scripts."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=20000",
            "--window-size=1400,2000",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_chromium
def test_the_page_shows_the_study(page: str, finished_run: Path, tmp_path: Path) -> None:
    assert page.startswith("http://127.0.0.1:")
    shown = _open(page, tmp_path / "profile")
    assert finished_run.name in shown
    assert "Pareto Front" in shown
    for objective in ("accuracy", "latency_ms"):
        assert objective in shown
    assert "stage1_growth_rate" in shown, "the choices stand under their own names"


@needs_chromium
def test_the_trial_page_shows_the_costs(page: str, tmp_path: Path) -> None:
    shown = _open(f"{page}/trials", tmp_path / "profile")
    for attribute in ("macs", "params", "latency_low_ms", "architecture", "constraints"):
        assert attribute in shown


@needs_chromium
def test_the_trial_page_shows_the_scores_of_rungs(rung_run: Path, tmp_path: Path) -> None:
    with _served(rung_run) as address:
        shown = _open(f"{address}/trials", tmp_path / "profile")
    for attribute in ("rungs", "rung1_accuracy", "rung2_accuracy"):
        assert attribute in shown
