"""What a process notes of itself before it works on a study."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from results.session import Session
from results.urls import without_password
from search_space.digests import DIGITS, short_hash

if TYPE_CHECKING:
    from latency_models import Device
    from search.config import RunConfig
    from search.runner import Ready

PACKAGES = ("condensed-search", "torch", "torchvision", "numpy", "scikit-learn", "optuna")
ROOT = Path(__file__).parents[1]


def session(config: RunConfig, ready: Ready, command: Sequence[str]) -> Session:
    """This process, with the data that it has read; ``command`` are the words of its beginning."""
    from results.bench import machine

    data = ready.data[config.rungs[-1].resolution]
    return Session(
        begun=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        command=tuple(map(_public, command)),
        machine=f"{machine()}, {platform.platform()}",
        cores=_cores(),
        versions={"python": platform.python_version(), **_versions()},
        commit=_commit(),
        data=data.fingerprint,
        split=data.split,
        training_images=len(data.train),
        validation_images=0 if data.validation is None else len(data.validation),
        device=device_fingerprint(config.limits.device),
    )


def device_fingerprint(on: Device) -> str:
    """Of the device as ``to_yaml`` writes it, as are the files of those that are shipped."""
    return short_hash([on.to_yaml().encode()])


def _public(word: str) -> str:
    """A word of a command without the password of a URL in it."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (without_password(value) if "://" in value else value)


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str | None:
    if not (ROOT / ".git").exists():
        return None
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "-uno")
    return None if not commit else commit[:DIGITS] + "+" * bool(changes)


def _git(*arguments: str) -> str:
    """What git prints; nothing where there is no git, or it refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
