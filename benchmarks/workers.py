"""What several workers gain, and what a trial costs besides its training.

    python benchmarks/workers.py --rounds 3 --trials 500 --json results.json

Workers: sixteen equal trainings of one network, whole searches with their study and files, by one
worker and by two that have loaded the data before; one thread each, in turns, so that a slow minute
of the machine hits both. Overhead: a search whose trainings take no time, seconds between one and
the next, in the mean of the last fifty and of all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from results.folder import RunFolder
from results.storage import quiet_optuna
from results.trial import Score, Trial
from search import runner
from search.config import RunConfig
from search.executors import Executor, Here
from search.jobs import Job, OnStep
from search.limits import Limits
from search.runner import Ready
from search.workers import Workers
from search_space import SPACES
from trainers.data import DataSplits
from trainers.proxy import train_proxy
from trainers.recipes import RECIPES

EQUAL = 16
LAST = 50
RESOLUTION = 16
CHOSEN = SPACES["cifar-32"]


class Silent:
    """A display that shows nothing."""

    def started(self, config: RunConfig, data: DataSplits, trials: Sequence[Trial]) -> None: ...

    def training_begun(self, trial: Trial) -> None: ...

    def trial_step(self, trial: Trial, step: int, steps: int) -> None: ...

    def training_stopped(self, trial: Trial) -> None: ...

    def trial_ended(self, trial: Trial) -> None: ...

    def waiting(self, trials: int) -> None: ...

    def warn(self, text: str) -> None: ...


def equal(job: Job, data: Mapping[int, DataSplits], on_step: OnStep) -> Score:
    """The same training whatever the job is: the space's network of lowest choices."""
    spec = CHOSEN.decode({d.name: d.choices[0] for d in CHOSEN.dimensions})
    resolution = job.rung.resolution
    return train_proxy(
        spec, data[resolution], job.recipe, resolution=resolution, seed=0, on_step=on_step
    )


def instant(job: Job, data: Mapping[int, DataSplits], on_step: OnStep) -> Score:
    """No training; the score follows from the network."""
    accuracy = int(job.trial.proposal.spec.id[:4], 16) / 0xFFFF
    return Score(accuracy=accuracy, loss=1.0, epochs=1, wall_s=0.0)


def configured(trials: int, searcher: str, epochs: int = 3) -> RunConfig:
    return RunConfig(
        space=CHOSEN,
        limits=Limits(macs=40_000_000),
        searcher=searcher,
        data="digits",
        trials=trials,
        recipe=RECIPES["proxy"].replace(epochs=epochs),
        resolution=RESOLUTION,
    )


def search_s(config: RunConfig, ready: Ready, doing: AbstractContextManager[Executor]) -> float:
    """Seconds of a search in a folder of its own, from its study to its files."""
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder.create(Path(path) / "run", None, config.to_settings())
        start = time.perf_counter()
        outcome = runner.run(
            config, ready, folder, folder.study(), Silent(), make_executor=lambda _: doing
        )
        wall_s = time.perf_counter() - start
    assert sum(trial.state == "complete" for trial in outcome.trials) == config.trials
    return wall_s


def measure_workers(rounds: int, epochs: int) -> dict[str, Any]:
    """Seconds of sixteen equal trials by one and by two warm workers, and their ratio."""
    config = configured(EQUAL, "random", epochs)
    ready = runner.prepare(config)
    found: dict[int, list[float]] = {1: [], 2: []}
    with (
        Workers(1, config, lambda *_: None, how=equal) as one,
        Workers(2, config, lambda *_: None, how=equal) as two,
    ):
        pools = {1: one, 2: two}
        for pool in pools.values():
            search_s(config, ready, nullcontext(pool))  # libraries and data are loaded
        for _ in range(rounds):
            for count, pool in pools.items():
                found[count].append(search_s(config, ready, nullcontext(pool)))
    one_s, two_s = (statistics.median(found[count]) for count in (1, 2))
    ratios = [b / a for a, b in zip(found[1], found[2], strict=True)]
    return {
        "trials": EQUAL,
        "one_s": one_s,
        "two_s": two_s,
        "ratio": two_s / one_s,
        "ratio_of_each_round": ratios,
    }


def measure_overhead(trials: int, searcher: str) -> dict[str, Any]:
    """Seconds per trial of a search that trains nothing, of all trials and of the last ones."""
    config = configured(trials, searcher)
    ready = runner.prepare(config)
    at: list[float] = []

    def noted(job: Job, data: Mapping[int, DataSplits], on_step: OnStep) -> Score:
        at.append(time.perf_counter())
        return instant(job, data, on_step)

    wall_s = search_s(config, ready, nullcontext(Here(ready.data, lambda *_: None, noted)))
    last = min(LAST, trials - 1)
    return {
        "searcher": searcher,
        "trials": trials,
        "mean_s": wall_s / trials,
        "last_s": (at[-1] - at[-1 - last]) / last,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="0 leaves the workers out")
    parser.add_argument("--epochs", type=int, default=3, help="of each of the equal trainings")
    parser.add_argument("--trials", type=int, default=500, help="0 leaves the overhead out")
    parser.add_argument("--searchers", nargs="+", default=["random"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    quiet_optuna()
    found: dict[str, Any] = {"machine": platform.platform(), "cores": os.cpu_count()}
    if args.rounds:
        found["workers"] = measure_workers(args.rounds, args.epochs)
    if args.trials:
        found["overhead"] = [measure_overhead(args.trials, name) for name in args.searchers]
    print(json.dumps(found, indent=2))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
