"""Where jobs are done: in this process, or in others of this machine (:mod:`search.workers`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from search.config import RunConfig
from search.jobs import Ended, Job, Train, attempt, train

if TYPE_CHECKING:
    from trainers.data import DataSplits

OnProgress = Callable[[Job, int, int], None]
"""Called now and then while a job is done, with (updates done, of how many)."""


class Executor(Protocol):
    """Does jobs, several at once perhaps."""

    @property
    def free(self) -> int:
        """How many more jobs it takes at once."""

    @property
    def busy(self) -> int:
        """How many jobs it is doing."""

    def give(self, job: Job) -> None:
        """Takes a job; ``free`` is at least 1."""

    def wait(self, timeout_s: float | None) -> Sequence[Ended]:
        """What has become of jobs; waits for something to happen, at most so long."""


class Here:
    """One job at a time, in this process."""

    def __init__(
        self, data: Mapping[int, DataSplits], on_progress: OnProgress, how: Train = train
    ) -> None:
        self._data = data
        self._on_progress = on_progress
        self._train = how
        self._job: Job | None = None

    @property
    def free(self) -> int:
        return 0 if self._job else 1

    @property
    def busy(self) -> int:
        return 1 if self._job else 0

    def give(self, job: Job) -> None:
        self._job = job

    def wait(self, timeout_s: float | None) -> Sequence[Ended]:
        job, self._job = self._job, None
        if job is None:
            time.sleep(timeout_s or 0)
            return []

        def on_step(step: int, steps: int) -> None:
            self._on_progress(job, step, steps)

        return [attempt(job, self._data, on_step, self._train)]


def load(config: RunConfig, *, download: bool = False) -> dict[int, DataSplits]:
    """The data of a search at each resolution that is trained at; raises UserError where they
    cannot be read."""
    from trainers.data import load_data

    return {
        resolution: load_data(
            config.data, resolution=resolution, limit=config.data_limit, download=download
        )
        for resolution in sorted({rung.resolution for rung in config.rungs})
    }
