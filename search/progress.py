"""What the command shows while a search or a training runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from results.tables import most_accurate
from results.trial import EpochRow, Trial
from search.config import RunConfig
from search_space import format_count
from search_space.budget import counted
from search_space.modules import drops_at
from trainers.data import DataSplits
from trainers.schedules import condensing
from trainers.training import Training

if TYPE_CHECKING:
    from typing_extensions import Self

    from trainers.detection.training import DetectionTraining

T = TypeVar("T", bound="Training | DetectionTraining")


class Display:
    """A live bar with counts and times on a terminal, lines in any case; a context manager.

    Args:
        console: Where it is shown.
        last: What the bar says at its end, in rich's fields.
        quiet: Whether nothing is said.
    """

    def __init__(self, console: Console, last: str, *, quiet: bool) -> None:
        self.console = console
        self.quiet = quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn(last),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, highlight=False, soft_wrap=True, markup=False)


class RunDisplay(Display):
    """A live bar on a terminal, a line per network elsewhere; a context manager.

    The bar counts iterations of all trainings, by whichever worker, its text tells the best
    network so far.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        super().__init__(console, "best {task.fields[best]}", quiet=quiet)
        self._total = 0
        self._done = 0
        self._training: dict[int, float] = {}
        """By number, the share of its rungs that a trial has been trained in."""
        self._rungs = 1
        self._warned_of_waiting = False
        self._best: Trial | None = None

    def started(self, config: RunConfig, data: DataSplits, trials: Sequence[Trial]) -> None:
        self._total = config.trials
        self._done = sum(t.state == "complete" for t in trials)
        self._rungs = len(config.rungs)
        self._best = most_accurate(trials)
        space = config.space
        held_out = len(data.validation) if data.validation else 0
        self._say(
            f"Space    {space.name}: {space.volume:.1e} combinations,"
            f" {space.image_size}x{space.image_size}, {space.classes} classes\n"
            f"Limits   {config.limits}, kept before any training\n"
            f"{_sought(config)}"
            f"Scored   after {_trainings(config)} on {len(data.train):,} images, condensed,"
            f" on {held_out:,} others\n{_halving(config)}"
            f"Data     {data.note}"
        )
        if data.name != "digits" and data.classes != space.classes:
            self._say(
                f"         It has {data.classes} classes; costs are those of a network with"
                f" {space.classes}: --classes {data.classes} prices yours"
            )
        if data.name == "digits":
            self._say(
                "         Name your own: --data folder:PATH (a folder per class), --data cifar10,"
                " --data cifar100"
            )
        self._task = self._progress.add_task(
            "networks", total=self._total, completed=self._done, best=_brief(self._best)
        )

    def training_begun(self, trial: Trial) -> None:
        self._warned_of_waiting = False
        self.trial_step(trial, 0, 1)

    def trial_step(self, trial: Trial, step: int, steps: int) -> None:
        self._training[trial.number] = (len(trial.rungs) + step / steps) / self._rungs
        self._update()

    def training_stopped(self, trial: Trial) -> None:
        self._training.pop(trial.number, None)
        self._update()

    def _update(self) -> None:
        if self._task is not None:
            self._progress.update(
                self._task,
                completed=self._done + sum(self._training.values()),
                description=self._doing(),
                best=_brief(self._best),
            )

    def _doing(self) -> str:
        if len(self._training) > 1:
            return f"networks ({len(self._training)} in training)"
        if self._training and self._rungs > 1:
            (share,) = self._training.values()
            rung = min(int(share * self._rungs), self._rungs - 1)
            return f"networks (rung {rung + 1} of {self._rungs})"
        return "networks"

    def trial_ended(self, trial: Trial) -> None:
        self._training.pop(trial.number, None)
        if trial.score is None:
            if trial.state == "failed":
                self._say(f"network {trial.number}: failed: {trial.failure}")
            self._update()
            return
        self._done += 1
        self._best = most_accurate([t for t in (self._best, trial) if t is not None])
        self._update()
        if not self.console.is_terminal:
            self._say(f"[{self._done}/{self._total}] network {trial.number}: {_brief(trial)}")

    def waiting(self, trials: int) -> None:
        if not self._warned_of_waiting:
            self._say(f"Waiting for {counted(trials, 'network')} that other processes train")
        self._warned_of_waiting = True

    def warn(self, text: str) -> None:
        self.console.print(f"Warning: {text}", highlight=False, soft_wrap=True, markup=False)


class UpdatesDisplay(Display, Generic[T]):
    """A live bar with the updates of one training."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        super().__init__(console, "{task.fields[state]}", quiet=quiet)
        self._began = (0, 0.0)

    def _begin(self, training: T) -> None:
        if training.step:
            self._say(f"Resumed  after update {training.step:,} of {training.steps:,}")
        self._began = (training.step, time.monotonic())
        self._task = self._progress.add_task(
            "updates", total=training.steps, completed=training.step, state=""
        )

    def updated(self, training: T) -> None:
        if self._task is None or self._progress.disable:
            return
        done, seconds = training.step - self._began[0], time.monotonic() - self._began[1]
        state = self._state(training, done * training.recipe.batch_size / seconds)
        self._progress.update(self._task, completed=training.step, state=state)

    def _state(self, training: T, images_per_s: float) -> str:
        """What the bar says at its end."""
        return f"{images_per_s:,.1f} images/s"


class TrainDisplay(UpdatesDisplay[Training]):
    """A live bar with what a training is doing, a line per epoch elsewhere; a context manager."""

    def begun(self, training: Training, note: str) -> None:
        recipe = training.recipe
        held_out = len(training.validation) if training.validation else 0
        self._say(
            f"Training {training.spec}\n"
            f"Recipe   {recipe.name}: {counted(recipe.epochs_in_all, 'epoch')} of"
            f" {counted(training.steps_per_epoch, 'update')}, {recipe.batch_size} images each\n"
            f"Images   {len(training.train_part):,} to train on, {held_out:,} to validate on\n"
            f"Data     {note}"
        )
        self._begin(training)

    def _state(self, training: Training, images_per_s: float) -> str:
        return f"{images_per_s:,.0f} images/s, {stage(training)}"

    def epoch(self, row: EpochRow) -> None:
        validated = f", validation top-1 {row.val_top1:.1%}" if row.val_top1 is not None else ""
        self._say(
            f"epoch {row.epoch}: loss {row.train_loss:.4f}, top-1 {row.train_top1:.1%}{validated},"
            f" {row.density:.0%} kept, {row.images_per_s:,.0f} images/s"
        )

    def warn(self, text: str) -> None:
        self._say(f"Warning: {text}")


def stage(training: Training) -> str:
    """Where a training is in the schedule of its layer with the most drops (CondenseNet,
    figure 3)."""
    factors = [layer.factor for layer in training.network.learned_layers.values()]
    stages = max(factors, default=1) - 1
    if stages == 0:
        return "nothing to condense"
    done = drops_at(condensing(training.recipe, training.step / training.steps), stages + 1)
    if done == stages:
        return "optimising"
    return f"condensing, stage {done + 1} of {stages}"


def _trainings(config: RunConfig) -> str:
    """``1 epoch at 16x16, 3 epochs at 32x32 or 9 epochs at 32x32``"""
    recipes = [config.recipe.replace(epochs=rung.epochs) for rung in config.rungs]
    each = [
        f"{counted(recipe.epochs_in_all, 'epoch')} at {rung.resolution}x{rung.resolution}"
        for recipe, rung in zip(recipes, config.rungs, strict=True)
    ]
    return " or ".join([", ".join(each[:-1]), each[-1]] if each[1:] else each)


def _sought(config: RunConfig) -> str:
    if config.aim == "front":
        return ""
    return "Sought   the best accuracy alone, at whatever cost\n"


def _halving(config: RunConfig) -> str:
    if config.halving is None:
        return ""
    return f"Rungs    1 network in {config.halving.keep} goes on from each training to the next\n"


def _brief(trial: Trial | None) -> str:
    if trial is None or trial.score is None:
        return ""
    e = trial.estimate
    rung = f" in rung {len(trial.rungs)}" if trial.rungs else ""
    return f"{trial.score.accuracy:.1%}{rung}, {format_count(e.macs)} MACs, {e.latency_ms:.1f} ms"
