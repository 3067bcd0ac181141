"""Each test process computes with one thread: several of them share the machine. A browser, where
there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from search_space.optional import QUIET

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(QUIET)

Browse = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Opens an address in a headless browser with an empty profile, and further options.

    Its standard error has what the page writes to the console. Tests that ask for it are skipped
    where no chromium is installed.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine: the page cannot be opened")

    def open_page(address: str, *options: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--enable-logging=stderr",
                f"--user-data-dir={tmp_path / 'profile'}",
                *options,
                address,
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done

    return open_page
