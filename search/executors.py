"""Where jobs are done: in this process, or in others of this machine (:mod:`search.workers`)."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from search.config import RunConfig
from search.jobs import Ended, Job, OnStep, Train, attempt, train

if TYPE_CHECKING:
    from trainers.data import DataSplits

Load = Callable[[RunConfig], Mapping[int, "DataSplits"]]
"""Reads the data of a search at each resolution that is trained at."""
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


class NowAndThen:
    """Tells of the first update, then as often as somebody may look.

    Args:
        tell: Called with (updates done, of how many).
        every_s: The least time between two calls.
    """

    def __init__(self, tell: OnStep, every_s: float) -> None:
        self._tell = tell
        self._every_s = every_s
        self._told = -math.inf

    def __call__(self, step: int, steps: int) -> None:
        now = time.monotonic()
        if now - self._told >= self._every_s:
            self._told = now
            self._tell(step, steps)


def use_threads(threads: int) -> None:
    """Gives so many threads to the trainings of the calling thread."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def load(config: RunConfig, *, download: bool = False) -> dict[int, DataSplits]:
    """The data of a search at each resolution that is trained at; raises UserError where they
    cannot be read."""
    from trainers.data import load_data

    return {
        resolution: load_data(
            config.data,
            resolution=resolution,
            limit=config.data_limit,
            download=download,
            images=config.images,
        )
        for resolution in sorted({rung.resolution for rung in config.rungs})
    }
