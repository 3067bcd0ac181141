"""Processes of a shared study are killed at random moments, and nothing is lost or done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from results.ownership import Owner
from results.study import Study
from results.trial import Score, Trial
from results.urls import absolute_url
from search_space import UserError

SCRIPT = Path(__file__).with_name("shared_study.py")
KILLS = 22
TRIALS = 60


class Driver:
    """A process that works on the study, with two workers, and is begun again when it is killed."""

    def __init__(self, folder: Path, storage: str) -> None:
        self._arguments = [str(folder), storage, str(TRIALS), "2"]
        self._errors = folder.with_suffix(".txt")
        self.begin()

    def begin(self) -> None:
        with self._errors.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), *self._arguments],
                stderr=errors,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    @property
    def workers(self) -> list[int]:
        """The process numbers of its workers."""
        try:
            tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
            children = [int(pid) for task in tasks for pid in task.read_text().split()]
            return [pid for pid in children if _is_worker(pid)]
        except OSError:  # it has just ended
            return []


def _is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@contextmanager
def drivers(folder: Path, storage: str) -> Iterator[list[Driver]]:
    made = [Driver(folder / name, storage) for name in ("one", "two")]
    try:
        yield made
    finally:
        for driver in made:
            driver.process.kill()
            driver.process.wait()


def scores(storage: str) -> dict[int, Score]:
    try:
        trials = Study.load(storage, "shared").trials()
    except UserError:  # it is being made
        return {}
    return {t.number: t.score for t in trials if t.score is not None}


def kill_one(driver: Driver, rng: random.Random) -> bool:
    """Kills a worker, or as often the driver, which is begun again; whether there was one."""
    if driver.process.poll() is not None:
        return False
    if rng.random() < 0.5:
        driver.process.kill()
        driver.process.wait()
        driver.begin()
        return True
    workers = driver.workers
    if not workers:
        return False
    os.kill(rng.choice(workers), signal.SIGKILL)
    return True


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_kills_at_random_moments_lose_nothing(kind: str, tmp_path: Path) -> None:
    storage = absolute_url(
        {"sqlite": f"sqlite:///{tmp_path}/s.db", "journal": f"journal:{tmp_path}/s.log"}[kind]
    )
    rng = random.Random(0)
    kills, kept = 0, dict[int, Score]()
    with drivers(tmp_path, storage) as both:
        while kills < KILLS and len(kept) < TRIALS:
            time.sleep(rng.uniform(0.05, 1.0))
            kills += kill_one(rng.choice(both), rng)
            now = scores(storage)
            assert {n: now.get(n) for n in kept} == kept, "no score is lost or changes"
            kept = now
            for driver in both:
                assert driver.process.poll() in (None, 0), driver.errors
        codes = [driver.process.wait(timeout=120) for driver in both]
    assert codes == [0, 0], [driver.errors for driver in both]
    assert kills >= 20, "the search was over before enough had been killed"
    check_complete(Study.load(storage, "shared").trials())


def _has_ended(owner: str | None) -> bool:
    parsed = Owner.parse(str(owner))
    return owner is None or (parsed is not None and parsed.has_ended)


def check_complete(trials: list[Trial]) -> None:
    assert [t.number for t in trials] == list(range(len(trials)))
    complete = [t for t in trials if t.state == "complete"]
    assert len(complete) == TRIALS
    assert len({t.proposal.spec.id for t in complete}) == TRIALS
    # One may be left that was begun and killed after the last one had ended.
    running = [t for t in trials if t.state == "running"]
    assert len(running) <= 1
    assert all(_has_ended(t.owner) for t in running)
    # A network is failed only where three of its workers were killed.
    assert all("processes that trained it" in str(t.failure) for t in trials if t.state == "failed")
    for trial in complete:
        assert trial.score is not None
        assert trial.score.accuracy == int(trial.proposal.spec.id[:4], 16) / 0xFFFF
