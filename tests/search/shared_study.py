"""A driver of a shared study whose trainings are pretended: it is run, and killed, by tests.

python shared_study.py FOLDER STORAGE TRIALS WORKERS [local|ray]
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import results.storage
from results.folder import RunFolder
from results.storage import quiet_optuna
from results.trial import Score, Trial
from results.urls import absolute_url
from search import runner
from search.config import RunConfig
from search.executors import Here
from search.jobs import Job, OnStep
from search.limits import Limits
from search.runner import Ready
from search.workers import Workers
from search_space import SPACES, UserError

NAME = "shared"
STEPS = 5


@dataclasses.dataclass(frozen=True)
class _NoData:
    """In place of images, which nobody reads."""

    name: str = "none"


def no_data(config: RunConfig) -> dict[int, Any]:
    return {rung.resolution: _NoData() for rung in config.rungs}


def accuracy(trial: Trial) -> float:
    """Follows from the network, so that a training that is done twice is done alike."""
    return int(trial.proposal.spec.id[:4], 16) / 0xFFFF


def pretend(job: Job, data: Any, on_step: OnStep) -> Score:
    """A training that takes some time."""
    for step in range(STEPS):
        time.sleep(float(os.environ.get("STEP_S", "0.04")))
        on_step(step + 1, STEPS)
    return Score(accuracy=accuracy(job.trial), loss=1.0, epochs=1, wall_s=1.0)


def faulty(job: Job, data: Any, on_step: OnStep) -> Score:
    """A training in which much goes wrong, by the number of its trial."""
    match job.trial.number:
        case 1:
            raise ValueError("image 17 has no pixels")
        case 3:
            raise MemoryError
        case 5:
            os.kill(os.getpid(), signal.SIGSEGV)
    return pretend(job, data, on_step)


def killed_once(job: Job, data: Any, on_step: OnStep) -> Score:
    """A training that kills its process, of trial 1 for the first time."""
    if job.trial.number == 1:
        try:
            Path(os.environ["KILLED"]).touch(exist_ok=False)
        except FileExistsError:
            return pretend(job, data, on_step)
        os.kill(os.getpid(), signal.SIGKILL)
    return pretend(job, data, on_step)


def no_start(config: RunConfig) -> dict[int, Any]:
    os._exit(7)


def no_images(config: RunConfig) -> dict[int, Any]:
    raise UserError("the images are gone")


class Silent:
    """A display that only says what is wrong."""

    def started(self, config: RunConfig, data: Any, trials: Sequence[Trial]) -> None: ...

    def training_begun(self, trial: Trial) -> None: ...

    def trial_step(self, trial: Trial, step: int, steps: int) -> None: ...

    def training_stopped(self, trial: Trial) -> None: ...

    def trial_ended(self, trial: Trial) -> None: ...

    def waiting(self, trials: int) -> None: ...

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr)


def configured(trials: int) -> RunConfig:
    space = SPACES["cifar-32"].replace(blocks=(1,))
    return RunConfig(
        space=space, limits=Limits(macs=20_000_000), searcher="random", data="digits", trials=trials
    )


def drive(path: Path, storage: str, trials: int, workers: int, kind: str = "local") -> int:
    quiet_optuna()
    if "PATIENCE_S" in os.environ:
        results.storage.PATIENCE_S = float(os.environ["PATIENCE_S"])
    config = configured(trials)
    if (path / "run.yaml").exists():
        folder = RunFolder.open(path)
    else:
        settings, url = config.to_settings(), absolute_url(storage)
        folder = RunFolder.create(path, url, settings, shared=NAME)
    ready = Ready(inside=config.limits.feasible(config.space), data=no_data(config))

    def executor(on_progress: Any) -> Any:
        if kind == "ray":
            from search.ray import Ray

            return Ray(config, on_progress, workers=workers, how=pretend, loading=no_data)
        if workers:
            return Workers(workers, config, on_progress, how=pretend, loading=no_data)
        return nullcontext(Here(ready.data, on_progress, pretend))

    with folder.locked():
        runner.run(config, ready, folder, folder.study(), Silent(), make_executor=executor)
    return 0


if __name__ == "__main__":
    out, url, trials, workers, *kind = sys.argv[1:]
    try:
        code = drive(Path(out), url, int(trials), int(workers), *kind)
    except UserError as error:
        print(f"search: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 4
    sys.exit(code)
