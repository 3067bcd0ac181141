"""The vocabulary of what happened: the course of a training, its score, the record of a trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from search_space.space import Choices
from search_space.spec import NetworkSpec

State = Literal["running", "complete", "failed", "withdrawn"]
"""A trial is withdrawn where another process has begun the same network, or the last one wanted,
before; it was not trained, and counts for nothing."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network on the images of one part of a data set.

    ``top1`` and ``top5`` are fractions of the images whose class is the first, or among the first
    five, that the network names; ``loss`` is the mean cross-entropy.
    """

    top1: float
    top5: float
    loss: float
    images: int


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """A few updates of a training.

    Args:
        step: Updates done, of all epochs.
        progress: The share of all updates, in (0, 1].
        learning_rate: Of the last of these updates.
        loss: Mean over the images of these updates.
        density: The share of all candidates of learned layers that is kept, after the last drop.
    """

    step: int
    progress: float
    learning_rate: float
    loss: float
    density: float


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One epoch of a training.

    ``train_loss`` and ``train_top1`` are those of the updates, on augmented images; ``val_`` of the
    masked network on the validation part, None where there is none. ``wall_s`` are the seconds of
    the epoch's updates, ``images_per_s`` the images of its updates per such second.
    """

    epoch: int
    step: int
    learning_rate: float
    train_loss: float
    train_top1: float
    val_loss: float | None
    val_top1: float | None
    val_top5: float | None
    density: float
    images_per_s: float
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one proxy training showed, on the validation part, of the condensed network.

    ``accuracy`` is a fraction, ``loss`` the mean cross-entropy, ``wall_s`` the seconds it took.
    """

    accuracy: float
    loss: float
    epochs: int
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A network that a searcher wants trained: its choices, itself, and what the searcher wants
    to read back later (plain JSON values)."""

    choices: Choices
    spec: NetworkSpec
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is known of a network before it is trained: costs of the target, never of the proxy."""

    macs: int
    params: int
    paper_flops: int
    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """What the full training of a network showed, of its condensed form.

    Args:
        accuracy: On the validation part, as the searched one; None if nothing was held out.
        test_accuracy: On the test part, which no search has read.
        recipe: Name of the recipe.
        epochs: Passes over the training images.
        folder: Where weights and exports are.
    """

    accuracy: float | None
    test_accuracy: float
    recipe: str
    epochs: int
    folder: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One network and what became of it.

    ``score`` is None until the training is complete, ``failure`` None unless it failed or was
    withdrawn: it says why;
    ``retrained`` None unless it was trained again with a full schedule.

    ``owner`` is the process that trains it, or has; ``heartbeat`` is that of the owner of a running
    trial, and moves while it does (:mod:`results.ownership`).

    ``rungs`` are the scores of the rungs that it has been trained in, the cheapest first, of which
    the last becomes the trial's; none where a search trains every network alike.
    """

    number: int
    state: State
    proposal: Proposal
    estimate: Estimate
    score: Score | None = None
    failure: str | None = None
    retrained: Retrained | None = None
    rungs: tuple[Score, ...] = ()
    owner: str | None = None
    heartbeat: int = 0

    @property
    def scores(self) -> tuple[Score, ...]:
        """Of each short training that is known, the cheapest first."""
        return self.rungs or ((self.score,) if self.score else ())

    @property
    def objectives(self) -> tuple[float, float]:
        """Accuracy (to maximise) and latency in ms (to minimise) of a complete trial."""
        if self.score is None:
            raise ValueError(f"trial {self.number} is {self.state} and has no score")
        return self.score.accuracy, self.estimate.latency_ms


def contenders(trials: Sequence[Trial]) -> list[Trial]:
    """The complete trials whose accuracies can be compared: those of the highest rung that any of
    them has reached, which without rungs are all."""
    done = [t for t in trials if t.score is not None]
    highest = max((len(t.rungs) for t in done), default=0)
    return [t for t in done if len(t.rungs) == highest]


def rung_values(number: int, score: Score) -> dict[str, Any]:
    """The score of rung ``number``, from 1, under the names that people read: ``rung1_accuracy``,
    ``rung1_loss``..."""
    return {f"rung{number}_{name}": value for name, value in asdict(score).items()}
