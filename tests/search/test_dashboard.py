"""The study in optuna-dashboard, seen with a real browser."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

Browse = Callable[..., "subprocess.CompletedProcess[str]"]
DRAWN = ("--virtual-time-budget=20000", "--window-size=1400,2000", "--dump-dom")
"""The page as the browser has it after running its scripts."""


SERVES_WITHIN_S = 300
TAKEN = "cannot be listened on"
"""What the command says of a port that another process listens on."""


@contextmanager
def _served(run: Path) -> Iterator[str]:
    """The address that ``search dashboard`` prints for a run."""
    for _ in range(5):  # a port that was free may be taken by another process
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with _server(run, port) as server:
            if _serves(server, port, run.name):
                assert server.stdout is not None
                yield server.stdout.readline().split()[1]
                return
    pytest.fail("none of five free ports could be listened on")


@contextmanager
def _server(run: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    server = subprocess.Popen(
        [sys.executable, "-m", "search", "dashboard", str(run), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield server
    finally:
        server.terminate()
        server.communicate(timeout=30)


def _serves(server: subprocess.Popen[str], port: int, study: str) -> bool:
    """Waits until a study is served; False where the server has ended, as its port was taken."""
    until = time.monotonic() + SERVES_WITHIN_S
    while time.monotonic() < until:
        if server.poll() is not None:
            assert server.stderr is not None
            said = server.stderr.read()
            assert TAKEN in said, said
            return False
        with (
            suppress(OSError, HTTPException),
            closing(HTTPConnection("127.0.0.1", port, timeout=SERVES_WITHIN_S)) as connection,
        ):
            connection.request("GET", "/api/studies")
            if study in connection.getresponse().read().decode():
                return True
        time.sleep(0.1)
    pytest.fail(f"nothing was served within {SERVES_WITHIN_S} s")


def test_a_port_that_is_taken_is_told(finished_run: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with _server(finished_run, port) as server:
            server.wait(SERVES_WITHIN_S)
            assert not _serves(server, port, finished_run.name)


@pytest.fixture
def page(finished_run: Path) -> Iterator[str]:
    """Where a finished run is shown."""
    with _served(finished_run) as address:
        yield address


def test_the_page_shows_the_study(browse: Browse, page: str, finished_run: Path) -> None:
    assert page.startswith("http://127.0.0.1:")
    shown = browse(page, *DRAWN).stdout
    assert finished_run.name in shown
    assert "Pareto Front" in shown
    for objective in ("accuracy", "latency_ms"):
        assert objective in shown
    assert "stage1_growth_rate" in shown, "the choices stand under their own names"


def test_the_trial_page_shows_the_costs(browse: Browse, page: str) -> None:
    shown = browse(f"{page}/trials", *DRAWN).stdout
    for attribute in ("macs", "params", "latency_low_ms", "architecture", "constraints"):
        assert attribute in shown


def test_notes_show_the_network_and_the_front(browse: Browse, page: str) -> None:
    shown = browse(f"{page}/trials", *DRAWN).stdout
    assert "transition1" in shown, "the diagram"
    shown = browse(f"{page}/note", *DRAWN).stdout
    assert "multiply-adds" in shown
    assert "-architecture.yaml</a>" in shown


def test_the_trial_page_shows_the_scores_of_rungs(browse: Browse, rung_run: Path) -> None:
    with _served(rung_run) as address:
        shown = browse(f"{address}/trials", *DRAWN).stdout
    for attribute in ("rungs", "rung1_accuracy", "rung2_accuracy"):
        assert attribute in shown
