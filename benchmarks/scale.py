"""How far one driver carries: what it does per trial as a study grows, by simulation.

    python -m benchmarks.scale storage --storages sqlite journal --sizes 100 1000 10000
    python -m benchmarks.scale searchers --searchers random condense --sizes 100 1000 10000

Nothing is trained: how long a training takes is drawn, and a clock that is not the wall's is set to
the next end. Figures are seconds of this process (``time.process_time``) and seconds of the wall.

Storage: the whole driver (``runner.run`` with its study, its files and the searcher ``random``)
begins with so many complete trials and lets so many workers train; from when all of them train on,
so many further trials are timed, each an end and a begin. Trials to begin with are real ones and
copies of them with other numbers, which a storage reads and counts as it does others.

Searchers: each is told so many trials and expects so many more; what is timed is what a driver
does with it per trial: ``tell``, ``expect`` and ``ask``.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import json
import os
import platform
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers import Silent, instant
from results.folder import RunFolder
from results.storage import quiet_optuna
from results.trial import Estimate, Proposal, Score, Trial
from results.urls import sqlite_url
from search import runner
from search.config import RunConfig
from search.executors import Here
from search.jobs import Ended, Job, Scored
from search.limits import Limits
from search.runner import Ready
from search_space import SPACES
from searchers import SEARCHERS, Admission, make_searcher

SPACE = SPACES["imagenet-224"]
LIMITS = Limits(macs=150_000_000)
REAL = 100
"""Trials that a real search writes; a larger study has copies of them."""
NETWORKS = 1200
"""Different networks among those that a searcher is told; beyond, they come again."""
BEGINNING = 12
"""Networks that are asked for before any is timed: the first ones of a searcher cost it nothing, or
what is drawn once."""
TRAININGS_S = {"1 min": 60, "10 min": 600, "1 h": 3600}


class _Enough(Exception):
    """All that was to be timed is."""


class Simulated:
    """An executor of so many workers that train nothing: durations are drawn, log-normal with a
    deviation of a third, and the clock is set to the next end."""

    def __init__(self, workers: int, timed: int, longest_s: float) -> None:
        self._workers, self._timed, self._longest_s = workers, timed, longest_s
        self._rng = np.random.default_rng(0)
        self._clock_s = 0.0
        self._jobs: list[tuple[float, int, Job]] = []
        self._at: list[tuple[float, float]] = []

    @property
    def free(self) -> int:
        return self._workers - len(self._jobs)

    @property
    def busy(self) -> int:
        return len(self._jobs)

    def give(self, job: Job) -> None:
        ends_s = self._clock_s + self._rng.lognormal(sigma=1 / 3)
        heapq.heappush(self._jobs, (ends_s, job.trial.number, job))

    def wait(self, timeout_s: float | None) -> Sequence[Ended]:
        self._at.append((time.process_time(), time.perf_counter()))
        over = self._at[-1][1] - self._at[0][1] > self._longest_s
        if len(self._at) > self._timed or (over and len(self._at) > 1):
            raise _Enough
        self._clock_s, _, job = heapq.heappop(self._jobs)
        accuracy = int(job.trial.proposal.spec.id[:4], 16) / 0xFFFF
        return [Scored(job=job, score=Score(accuracy=accuracy, loss=1.0, epochs=1, wall_s=0.0))]

    @property
    def timed(self) -> int:
        """Trials that were timed, each from one end to the next."""
        return len(self._at) - 1

    @property
    def per_trial_s(self) -> tuple[float, float]:
        """Seconds of the process and of the wall."""
        (cpu_0, wall_0), (cpu_1, wall_1) = self._at[0], self._at[-1]
        return (cpu_1 - cpu_0) / self.timed, (wall_1 - wall_0) / self.timed


# --- The storage ----------------------------------------------------------------------------------


def configured(trials: int) -> RunConfig:
    return RunConfig(
        space=SPACE, limits=LIMITS, searcher="random", data="digits", trials=trials, resolution=32
    )


def multiplied_sqlite(path: Path, copies: int) -> None:
    """Copies the trials of a study so many times, with other numbers."""
    tables = {
        "trials": ("number", "study_id", "state", "datetime_start", "datetime_complete"),
        "trial_params": ("param_name", "param_value", "distribution_json"),
        "trial_values": ("objective", "value", "value_type"),
        "trial_user_attributes": ("key", "value_json"),
        "trial_system_attributes": ("key", "value_json"),
    }
    database = sqlite3.connect(path)
    with database:
        most = database.execute("SELECT max(trial_id) FROM trials").fetchone()[0]
        for copy in range(1, copies):
            offset = copy * most
            for table, columns in tables.items():
                values = [f"{c} + {offset}" if c == "number" else c for c in columns]
                database.execute(
                    f"INSERT INTO {table} (trial_id, {', '.join(columns)}) SELECT"
                    f" trial_id + {offset}, {', '.join(values)} FROM {table}"
                    f" WHERE trial_id <= {most}"
                )
    database.close()


def multiplied_journal(path: Path, copies: int) -> None:
    """Likewise; the lines of a trial name it by its place among those that begin one."""
    with path.open("a", encoding="utf-8") as file:
        lines = path.read_text(encoding="utf-8").splitlines()
        trials = 1 + max(json.loads(line).get("trial_id", -1) for line in lines)
        of_trials = [json.loads(line) for line in lines]
        of_trials = [log for log in of_trials if "trial_id" in log or "datetime_start" in log]
        for copy in range(1, copies):
            for log in of_trials:
                moved = {"trial_id": log["trial_id"] + copy * trials} if "trial_id" in log else {}
                file.write(json.dumps(log | moved, separators=(",", ":")) + "\n")


STORAGES: dict[str, tuple[Callable[[Path], str], Callable[[Path, int], None]]] = {
    "sqlite": (sqlite_url, multiplied_sqlite),
    "journal": (lambda path: f"journal:{path}", multiplied_journal),
}
"""By name: the URL of a file, and what copies the trials in it."""


def measure_storage(
    name: str, size: int, workers: int, timed: int, longest_s: float, ready: Ready
) -> dict[str, Any]:
    """What a driver needs per trial beyond the first ``size``."""
    url, multiplied = STORAGES[name]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "study"
        config = configured(min(REAL, size))
        folder = RunFolder.create(Path(temporary) / "run", url(path), config.to_settings())
        here = nullcontext(Here(ready.data, lambda *_: None, instant))
        runner.run(config, ready, folder, folder.study(), Silent(), make_executor=lambda _: here)
        multiplied(path, size // min(REAL, size))
        size_mb = path.stat().st_size / 1e6

        config = configured(size + workers + timed)
        simulated = Simulated(workers, timed, longest_s)
        start_s = time.process_time()
        begun_s: list[float] = []

        def begun(_: object) -> nullcontext[Simulated]:
            begun_s.append(time.process_time() - start_s)
            return nullcontext(simulated)

        with suppress(_Enough):
            runner.run(config, ready, folder, folder.study(), Silent(), make_executor=begun)
    cpu_s, wall_s = simulated.per_trial_s
    return {
        "storage": name,
        "trials": size,
        "workers": workers,
        "timed": simulated.timed,
        "cpu_s": cpu_s,
        "wall_s": wall_s,
        "workers_busy": {text: int(s / wall_s) for text, s in TRAININGS_S.items()},
        "open_cpu_s": begun_s[0],
        "file_mb": size_mb,
        "most_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


# --- The searchers --------------------------------------------------------------------------------


def networks(count: int) -> list[Proposal]:
    """Different networks of the space inside the budget."""
    rng = np.random.default_rng(0)
    found: dict[str, Proposal] = {}
    admission = Admission(LIMITS.ratios, LIMITS.feasible(SPACE))
    while len(found) < count:
        choices = SPACE.sample(rng)
        spec = admission.admits(SPACE, choices)
        if spec is not None:
            found[spec.id] = Proposal(choices=SPACE.encode(spec), spec=spec)
    return list(found.values())


def trials_of(proposals: Sequence[Proposal], count: int) -> Iterator[Trial]:
    """Complete trials: accuracies are drawn, higher for networks of more multiply-adds."""
    rng = np.random.default_rng(1)
    known = [LIMITS.estimate(proposal.spec) for proposal in proposals]
    for number in range(count):
        proposal, estimate = proposals[number % len(known)], known[number % len(known)]
        yield _complete(number, proposal, estimate, rng)


def _complete(
    number: int, proposal: Proposal, estimate: Estimate, rng: np.random.Generator
) -> Trial:
    accuracy = 0.1 + 0.1 * np.log10(estimate.macs) - 0.02 * rng.gamma(1.0)
    score = Score(accuracy=float(accuracy), loss=1.0, epochs=1, wall_s=0.0)
    return Trial(number=number, state="complete", proposal=proposal, estimate=estimate, score=score)


def measure_searcher(
    name: str, sizes: Sequence[int], pending: int, timed: int, longest_s: float
) -> Iterator[dict[str, Any]]:
    """What a searcher needs per trial that is told and asked for, as it has been told more."""
    admission = Admission(LIMITS.ratios, LIMITS.feasible(SPACE), LIMITS.known)
    searcher = make_searcher(name, SPACE, admission, 0)
    proposals = networks(min(NETWORKS, pending + max(sizes)))
    trials = trials_of(proposals, max(sizes) + timed * len(sizes))
    waiting = [
        dataclasses.replace(trial, number=10**6 + trial.number, state="running", score=None)
        for trial in trials_of(proposals, pending)
    ]
    told = 0
    begun_s = time.perf_counter()
    for size in sizes:
        for trial in trials:
            searcher.tell(trial)
            told += 1
            if told >= size:
                break
        searcher.expect(waiting)
        for number in range(BEGINNING if size == sizes[0] else 1):
            searcher.ask(10**7 - told - number)
        took_s = []
        for _ in range(timed):
            start_s = time.process_time()
            searcher.tell(next(trials))
            searcher.expect(waiting)
            searcher.ask(10**7 + told + 1)
            took_s.append(time.process_time() - start_s)
            told += 1
        yield {
            "searcher": name,
            "trials": size,
            "pending": pending,
            "cpu_s": statistics.median(took_s),
            "most_cpu_s": max(took_s),
            "most_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        }
        if time.perf_counter() - begun_s > longest_s:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("storage", "searchers"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--workers", type=int, default=1000, help="that train at once")
    parser.add_argument("--timed", type=int, default=100, help="trials that are timed at each size")
    parser.add_argument("--longest-s", type=float, default=180, help="after this no size begins")
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=list(STORAGES))
    parser.add_argument(
        "--searchers",
        nargs="+",
        choices=SEARCHERS,
        default=["random", "condense", "optuna:tpe", "evolution"],
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    quiet_optuna()
    rows: list[dict[str, Any]] = []
    if args.what == "storage":
        ready = runner.prepare(configured(1))
        found: Iterator[dict[str, Any]] = (
            measure_storage(name, size, args.workers, args.timed, args.longest_s, ready)
            for name in args.storages
            for size in sorted(args.sizes)
        )
    else:
        found = (
            row
            for name in args.searchers
            for row in measure_searcher(
                name, sorted(args.sizes), args.workers, args.timed, args.longest_s
            )
        )
    for row in found:
        rows.append(row)
        print(json.dumps(row), flush=True)
    if args.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count()}
        args.json.write_text(json.dumps(machine | {"rows": rows}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
