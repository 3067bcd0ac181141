"""A training from its first or next update to its last, watched, and safe from being killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from results.trial import EpochRow, StepRow
from search_space.network import Network
from trainers.checkpoint import StopRequest, load_checkpoint, save_checkpoint, stop_requests
from trainers.machine import over_processes
from trainers.training import Row, Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Interrupted(Exception):
    """The training was asked to end and can be taken up again; ``str()`` says where it is."""


class Watcher(Protocol):
    """Who watches a training, in its first process; every method may do nothing."""

    def begun(self, training: Training) -> None:
        """It starts, or goes on from ``training.step``."""

    def updated(self, training: Training) -> None:
        """An update is done."""

    def step(self, row: StepRow) -> None:
        """A row of updates is complete."""

    def epoch(self, row: EpochRow, training: Training) -> None:
        """An epoch is complete; its checkpoint is written already."""


def fit(
    training: Training,
    checkpoint: Path,
    settings: Mapping[str, Any],
    watcher: Watcher,
) -> Network:
    """Trains to the end; returns the network as :meth:`Training.finish` leaves it.

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
                if asked or any(isinstance(row, EpochRow) for row in rows):
                    save_checkpoint(training, checkpoint, settings)
                _tell(watcher, training, rows)
            if asked:
                raise Interrupted(f"stopped after update {training.step} of {training.steps}")
    return training.finish()


def _anywhere(stop: StopRequest, fabric: Fabric) -> bool:
    """Whether any process was asked to stop."""
    flag = torch.tensor(float(bool(stop)), device=fabric.device)
    return bool(over_processes(fabric, flag, "sum") > 0)


def _tell(watcher: Watcher, training: Training, rows: list[Row]) -> None:
    watcher.updated(training)
    for row in rows:
        if isinstance(row, StepRow):
            watcher.step(row)
        else:
            watcher.epoch(row, training)
