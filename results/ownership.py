"""Who trains a running trial, and whether they still do.

A process that runs trials writes itself into them as ``owner`` and raises its ``heartbeat``, a
counter in the study, every ``BEAT_S`` seconds. Whoever else looks at the trial measures by its own
monotonic clock how long that counter has stood still: no clock of another machine is compared with
its own, and no clock that is set back or forth matters. On the owner's machine a process that has
ended is seen at once.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from results.trial import Trial

BEAT_S = 10.0
LEASE_S = 60.0
"""A trial whose heartbeat has stood still for so long is taken from its owner."""

_PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process that runs trials.

    Args:
        host: The machine, and where it can be known also its boot and its namespace of process
            numbers: containers may share the name of a machine.
        pid: Its number there.
        started: When it began, in the clock ticks of Linux; 0 where that cannot be read.
        token: Random, to tell apart two that are equal otherwise.
    """

    host: str
    pid: int
    started: int
    token: str

    @classmethod
    def here(cls) -> Owner:
        """This process, as an owner of its own with each call."""
        pid = os.getpid()
        token = secrets.token_hex(4)
        return cls(host=_host(), pid=pid, started=_started(pid) or 0, token=token)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The inverse of ``str``; None for what is none."""
        try:
            host, pid, started, token = text.split(" ")
            return cls(host=host, pid=int(pid), started=int(started), token=token)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.host} {self.pid} {self.started} {self.token}"

    @property
    def has_ended(self) -> bool:
        """Whether this process is known to be gone; False where that cannot be known."""
        if self.host != _host():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is someone else's, and there
        now = _started(self.pid)
        return now is not None and now != self.started


def _host() -> str:
    """``name`` or ``name/boot/namespace``, without spaces."""
    name = socket.gethostname().replace(" ", "-") or "unknown"
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return name
    return f"{name}/{boot[:8]}/{namespace.partition('[')[2].rstrip(']')}"


def _started(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot; None where that cannot be read, 0 for
    one that has ended and is only waited for."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field is the name of the program in brackets, which may hold both.
    after_name = stat.rpartition(")")[2].split()
    return 0 if after_name[0] in "ZX" else int(after_name[19])


class Watch:
    """Judges which running trials are abandoned.

    Args:
        owner: The process that judges; its own trials never are.
        clock: Seconds that only move forward.
    """

    def __init__(self, owner: Owner, clock: Callable[[], float] = time.monotonic) -> None:
        self._owner = owner
        self._clock = clock
        self._seen: dict[int, tuple[tuple[str, int], float]] = {}

    def is_abandoned(self, trial: Trial) -> bool:
        """Whether nobody trains a running trial: it has no owner, the owner has ended, or its
        heartbeat was seen to stand still for ``LEASE_S``."""
        if trial.owner is None:
            return True
        if trial.owner == str(self._owner):
            return False
        owner = Owner.parse(trial.owner)
        if owner is not None and owner.has_ended:
            return True
        mark, now = (trial.owner, trial.heartbeat), self._clock()
        before, since = self._seen.get(trial.number, (None, now))
        if before != mark:
            self._seen[trial.number] = mark, now
            return False
        return now - since >= LEASE_S
