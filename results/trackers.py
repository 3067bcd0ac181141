"""Where the figures of a training are sent while it runs: TensorBoard, MLflow, Weights & Biases.

Each tracker is opened with the training's folder, its name, its settings (plain JSON values) and
the updates that are done already: 0 for a new training, more where one is continued, which goes on
in the same run.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from results.folder import write_atomically
from results.trial import EpochRow, StepRow
from search_space.errors import UserError
from search_space.optional import import_optional

Settings = Mapping[str, Any]
Scalars = dict[str, float]

PROJECT = "condensed-search"
"""What runs are filed under where many projects share a server."""


class Tracker(Protocol):
    """Takes the rows of a training as they come."""

    def step(self, row: StepRow) -> None:
        """A few updates are done."""

    def epoch(self, row: EpochRow) -> None:
        """An epoch is done."""

    def close(self) -> None:
        """The training is over, or interrupted; nothing more comes."""


def step_scalars(row: StepRow) -> Scalars:
    """What is logged of a few updates."""
    return {
        "loss/train": row.loss,
        "learning_rate": row.learning_rate,
        "density": row.density,
    }


def epoch_scalars(row: EpochRow) -> Scalars:
    """What is logged of an epoch beyond its updates; what was not measured is left out."""
    measured = {
        "top1/train": row.train_top1,
        "loss/validation": row.val_loss,
        "top1/validation": row.val_top1,
        "top5/validation": row.val_top5,
        "images_per_s": row.images_per_s,
    }
    return {name: value for name, value in measured.items() if value is not None}


class _ScalarTracker(ABC):
    """A tracker of named numbers."""

    def step(self, row: StepRow) -> None:
        self.log(step_scalars(row), row.step)

    def epoch(self, row: EpochRow) -> None:
        self.log(epoch_scalars(row), row.step)

    @abstractmethod
    def log(self, scalars: Scalars, step: int) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class TensorBoard(_ScalarTracker):
    """Event files in ``FOLDER/tensorboard``, read by ``tensorboard --logdir FOLDER``.

    What a continued training does again replaces what was logged of it before.
    """

    def __init__(self, folder: Path, name: str, settings: Settings, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Events from `purge_step` on are dropped; those of the last update done are kept.
        self._writer: Any = SummaryWriter(
            folder / "tensorboard", purge_step=step + 1 if step else 0
        )
        if step == 0:
            # Markdown shows lines that are indented by four as they are.
            lines = json.dumps(settings, indent=2).splitlines()
            self._writer.add_text("settings", "\n".join([name, "", *("    " + s for s in lines)]))

    def log(self, scalars: Scalars, step: int) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def epoch(self, row: EpochRow) -> None:
        super().epoch(row)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class MLflow(_ScalarTracker):
    """A run of MLflow, in ``FOLDER/mlflow`` unless ``MLFLOW_TRACKING_URI`` names a server.

    MLflow keeps all it was sent: updates that a continued training does again are there twice.

    Raises:
        UserError: MLflow is not installed, its store cannot be used, or it lacks the run that is
            to be continued.
    """

    def __init__(self, folder: Path, name: str, settings: Settings, step: int) -> None:
        mlflow = import_optional("mlflow", extra="mlflow")
        self._entities = import_optional("mlflow.entities", extra="mlflow")
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        own = folder / "mlflow"
        own.mkdir(parents=True, exist_ok=True)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{own.resolve() / 'mlflow.db'}"
        note = own / "run_id"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the libraries below, about themselves
                self._client = mlflow.MlflowClient(tracking_uri=uri)
                self._run = self._resumed(note, step) or self._new(own, name, settings)
        except mlflow.exceptions.MlflowException as error:
            raise UserError(
                f"MLflow cannot track this training at {uri}: {error};"
                " set MLFLOW_TRACKING_URI to the store that holds its run, or leave mlflow out"
            ) from None
        write_atomically(note, self._run)

    def _new(self, own: Path, name: str, settings: Settings) -> str:
        experiment = self._client.get_experiment_by_name(PROJECT)
        number = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(PROJECT, artifact_location=self._artifacts(own))
        )
        run: str = self._client.create_run(number, run_name=name).info.run_id
        parameters = [self._entities.Param(k, _text(v)) for k, v in flat(settings).items()]
        self._client.log_batch(run, params=parameters)
        return run

    @staticmethod
    def _artifacts(own: Path) -> str | None:
        """Beside the store where it is our own; a server has a place for them."""
        if os.environ.get("MLFLOW_TRACKING_URI"):
            return None
        return (own.resolve() / "artifacts").as_uri()

    def _resumed(self, note: Path, step: int) -> str | None:
        run = _noted(note, step)
        if run:
            self._client.update_run(run, status="RUNNING")
        return run

    def log(self, scalars: Scalars, step: int) -> None:
        now_ms = int(time.time() * 1000)
        metrics = [self._entities.Metric(k, v, now_ms, step) for k, v in scalars.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self._run)


class WandB(_ScalarTracker):
    """A run of Weights & Biases, kept in ``FOLDER/wandb`` for ``wandb sync``.

    Its own variables of the environment (``WANDB_MODE``, ``WANDB_API_KEY``, ``WANDB_PROJECT``...)
    take it online. It leaves out updates that a continued training does again.

    Raises:
        UserError: wandb is not installed or cannot start the run.
    """

    def __init__(self, folder: Path, name: str, settings: Settings, step: int) -> None:
        wandb = import_optional("wandb", extra="wandb")
        note = folder / "wandb" / "run_id"
        note.parent.mkdir(parents=True, exist_ok=True)
        run = _noted(note, step) or uuid4().hex
        configured = {"WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"} & os.environ.keys()
        try:
            self._run = wandb.init(
                dir=folder,
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=name,
                id=run,
                config=dict(settings),
                mode=None if configured else "offline",
                resume="allow",
                settings=wandb.Settings(silent=True),
            )
        except wandb.Error as error:
            raise UserError(
                f"wandb cannot track this training: {error}; set WANDB_MODE=offline,"
                " or leave wandb out"
            ) from None
        write_atomically(note, run)

    def log(self, scalars: Scalars, step: int) -> None:
        self._run.log(scalars, step=step)

    def close(self) -> None:
        self._run.finish()


def flat(settings: Settings, prefix: str = "") -> dict[str, Any]:
    """Settings within settings under dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _noted(note: Path, step: int) -> str | None:
    """The run that a continued training goes on in; None where nothing was tracked before."""
    return note.read_text(encoding="utf-8").strip() if step and note.is_file() else None


TRACKERS: dict[str, Callable[[Path, str, Settings, int], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
"""Trackers by name; a training that names none has the first."""
