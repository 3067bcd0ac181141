"""A training from its first or next update to its last, watched, and safe from being killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from results.trial import StepRow
from search_space.network import Network
from trainers.checkpoint import StopRequest, load_checkpoint, save_checkpoint, stop_requests
from trainers.machine import over_processes
from trainers.training import Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Interrupted(Exception):
    """The training was asked to end and can be taken up again; ``str()`` says where it is."""


class Course(Protocol):
    """What can be trained update by update and written down between any two of them."""

    fabric: Fabric
    step: int
    steps: int

    def updates(self) -> Iterator[list[Any]]:
        """Performs the updates that are left; gives after each the rows that are due: a
        :class:`StepRow` for some updates, another kind of row for an epoch."""

    def share_statistics(self) -> None:
        """Makes the state of any process that of all."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, enough to go on."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what :meth:`state` gave."""


C = TypeVar("C", bound=Course)
Watched = TypeVar("Watched", bound=Course, contravariant=True)


class Watcher(Protocol[Watched]):
    """Who watches a training, in its first process; every method may do nothing."""

    def begun(self, training: Watched) -> None:
        """It starts, or goes on from ``training.step``."""

    def updated(self, training: Watched) -> None:
        """An update is done."""

    def step(self, row: StepRow) -> None:
        """A row of updates is complete."""

    def epoch(self, row: Any, training: Watched) -> None:
        """An epoch is complete; its checkpoint is written already."""


def fit(
    training: Training,
    checkpoint: Path,
    settings: Mapping[str, Any],
    watcher: Watcher[Training],
) -> Network:
    """Trains a classifier to the end, as :func:`run_to_end` does; returns the network as
    :meth:`Training.finish` leaves it."""
    run_to_end(training, checkpoint, settings, watcher)
    return training.finish()


def run_to_end(
    training: C, checkpoint: Path, settings: Mapping[str, Any], watcher: Watcher[C]
) -> None:
    """Performs all updates that are left.

    Args:
        training: As made; where ``checkpoint`` exists it goes on from there.
        checkpoint: File written after every epoch and on SIGTERM or Ctrl-C.
        settings: What determines the training, in plain values.
        watcher: Told in the first process alone.

    Raises:
        Interrupted: on SIGTERM or Ctrl-C, once the checkpoint is written.
        TrainingFailed: the loss is not finite.
        UserError: the checkpoint is damaged or of a training with other settings.
    """
    fabric = training.fabric
    first = fabric.global_rank == 0
    if checkpoint.is_file():
        training.load_state(load_checkpoint(checkpoint, settings))
    if first:
        watcher.begun(training)
    with stop_requests() as stop:
        for rows in training.updates():
            # Only where there are rows are all processes at the same update.
            asked = bool(stop) if fabric.world_size == 1 else bool(rows) and _anywhere(stop, fabric)
            if asked:
                training.share_statistics()
            if first:
                if asked or any(not isinstance(row, StepRow) for row in rows):
                    save_checkpoint(training, checkpoint, settings)
                _tell(watcher, training, rows)
            if asked:
                raise Interrupted(f"stopped after update {training.step} of {training.steps}")


def _anywhere(stop: StopRequest, fabric: Fabric) -> bool:
    """Whether any process was asked to stop."""
    flag = torch.tensor(float(bool(stop)), device=fabric.device)
    return bool(over_processes(fabric, flag, "sum") > 0)


def _tell(watcher: Watcher[C], training: C, rows: list[Any]) -> None:
    watcher.updated(training)
    for row in rows:
        if isinstance(row, StepRow):
            watcher.step(row)
        else:
            watcher.epoch(row, training)
