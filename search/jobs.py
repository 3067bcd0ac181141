"""One training that a search wants done, and what may become of it.

A job holds all that a training needs but the images, and crosses to other processes.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.trial import Score, Trial
from search_space import UserError
from searchers.rungs import Rung
from trainers.recipe import Recipe

if TYPE_CHECKING:
    from trainers.data import DataSplits

OnStep = Callable[[int, int], None]
"""Called after each update of a training with (updates done, of how many)."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial that is to be trained in its next rung.

    Args:
        trial: It is running.
        rung: The epochs and the resolution.
        recipe: Everything else.
        seed: Of the training.
    """

    trial: Trial
    rung: Rung
    recipe: Recipe
    seed: int


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The training ended well."""

    job: Job
    score: Score


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The training could not be done, and could not by others."""

    job: Job
    reason: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Whoever did the training is gone; it may be done by others."""

    job: Job
    reason: str


Ended = Scored | Failed | Lost

Train = Callable[[Job, Mapping[int, "DataSplits"], OnStep], Score]
"""Does a job on the data of each resolution; whatever it raises fails the trial."""


def train(job: Job, data: Mapping[int, DataSplits], on_step: OnStep) -> Score:
    """The short training of a job."""
    from trainers.proxy import train_proxy

    return train_proxy(
        job.trial.proposal.spec,
        data[job.rung.resolution],
        job.recipe.replace(epochs=job.rung.epochs),
        resolution=job.rung.resolution,
        seed=job.seed,
        on_step=on_step,
    )


def attempt(
    job: Job, data: Mapping[int, DataSplits], on_step: OnStep, how: Train
) -> Scored | Failed:
    """Does a job; an error in it, of whatever kind, is that of one network and ends no search."""
    try:
        return Scored(job=job, score=how(job, data, on_step))
    except Exception as error:
        return Failed(job=job, reason=_reason(error))


def _reason(error: Exception) -> str:
    """An error in a sentence, with the line that raised it where it was not foreseen."""
    from trainers.training import TrainingFailed

    if isinstance(error, TrainingFailed | UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory: {error}".rstrip(": ")
    text = " ".join(str(error).split())[:300]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"the training broke off with {type(error).__name__}: {text}{where}"
