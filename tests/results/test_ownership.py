"""Whose a running trial is, judged by processes that are there, gone, or somewhere else."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from results import ownership
from results.ownership import LEASE_S, Owner, Watch
from results.trial import Trial

TrialOf = Callable[..., Trial]


@pytest.fixture
def running(trial: TrialOf) -> Callable[..., Trial]:
    """A running trial of an owner, at a heartbeat."""

    def make(owner: Owner | str | None, heartbeat: int = 0) -> Trial:
        made = trial(0, None, state="running")
        owner = None if owner is None else str(owner)
        return dataclasses.replace(made, owner=owner, heartbeat=heartbeat)

    return make


class Clock:
    """Seconds that are set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


ELSEWHERE = Owner(host="another/1/1", pid=1, started=1, token="00000001")


def test_an_owner_is_written_and_read() -> None:
    here = Owner.here()
    assert Owner.parse(str(here)) == here
    assert here.pid == os.getpid()
    assert Owner.parse("somebody") is None
    assert Owner.parse("a b c d") is None


def test_one_process_may_be_several_owners() -> None:
    assert Owner.here() != Owner.here()


def test_a_process_that_ended_is_seen_at_once(running: Callable[..., Trial]) -> None:
    code = "from results.ownership import Owner; print(Owner.here())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    gone = Owner.parse(done.stdout.strip())
    assert gone is not None
    assert gone.has_ended
    assert not Owner.here().has_ended
    assert Watch(Owner.here()).is_abandoned(running(gone))


def test_a_process_that_is_only_waited_for_has_ended() -> None:
    code = "from results.ownership import Owner; print(Owner.here())"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        owner = Owner.parse(child.stdout.read().strip())
        assert owner is not None
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert owner.has_ended


def test_another_process_with_the_number_of_one_that_ended_is_not_it() -> None:
    here = Owner.here()
    assert dataclasses.replace(here, started=here.started - 1).has_ended


def test_nothing_is_known_of_processes_of_other_machines() -> None:
    assert not ELSEWHERE.has_ended


def test_a_container_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Owner.here()
    monkeypatch.setattr(ownership.os, "readlink", lambda _: "pid:[1]")
    there = Owner.here()
    assert there.host != here.host
    assert not here.has_ended


def test_a_trial_of_nobody_is_abandoned_and_ones_own_never(running: Callable[..., Trial]) -> None:
    clock, here = Clock(), Owner.here()
    watch = Watch(here, clock)
    assert watch.is_abandoned(running(None))
    assert not watch.is_abandoned(running(here))
    clock.now += 10 * LEASE_S
    assert not watch.is_abandoned(running(here))


def test_a_slow_one_is_left_alone_and_a_silent_one_is_not(running: Callable[..., Trial]) -> None:
    clock = Clock()
    watch = Watch(Owner.here(), clock)
    for beat in range(5):
        assert not watch.is_abandoned(running(ELSEWHERE, beat))
        clock.now += LEASE_S - 1
        assert not watch.is_abandoned(running(ELSEWHERE, beat))
    clock.now += 1
    assert watch.is_abandoned(running(ELSEWHERE, 4))
    assert not watch.is_abandoned(running(ELSEWHERE, 5)), "it has come back"


def test_a_trial_that_changes_hands_has_the_whole_time_again(running: Callable[..., Trial]) -> None:
    clock = Clock()
    watch = Watch(Owner.here(), clock)
    assert not watch.is_abandoned(running(ELSEWHERE))
    clock.now += LEASE_S
    assert not watch.is_abandoned(running(dataclasses.replace(ELSEWHERE, token="00000002")))


def test_a_jump_of_the_clock_takes_nobodys_trial(
    running: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(Owner.here())
    for jump_s in (0, 1e7, -1e7):
        monkeypatch.setattr(time, "time", lambda jump_s=jump_s: 1.7e9 + jump_s)
        assert not watch.is_abandoned(running(ELSEWHERE))
