"""From a network and a data set to a trained, condensed and verified network in a folder.

What lies in that folder and what it means is told in :mod:`search.trained_folder`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from torch import Tensor

from results.curve import draw_curve
from results.export import Origin, check_formats, export_into
from results.folder import write_atomically
from results.formats import ARCHITECTURE, ExportOptions
from results.metrics import write_rows
from results.trackers import TRACKERS, Tracker
from results.trial import EpochRow, Measured, StepRow
from results.weights import save_weights
from search.trained_folder import (
    CHECKPOINT,
    CONDENSED,
    RECIPE,
    RESULT,
    Diverged,
    Result,
    check_untaken,
    kept,
    read_result,
)
from search_space import NetworkSpec, cost
from search_space.budget import counted
from search_space.errors import UnknownName, UserError
from search_space.network import Network, check_conversion
from trainers.augment import check_augmentation
from trainers.checkpoint import check_same
from trainers.data import DataSplits, load_data
from trainers.evaluate import evaluate
from trainers.fit import fit
from trainers.machine import machine
from trainers.order import in_order
from trainers.parts import Part
from trainers.recipe import Recipe
from trainers.recipes import recipe as read_recipe
from trainers.training import Training, TrainingFailed, training_spec

MOST_SEED = 2**63 - 1
"""What torch's generators take."""


@dataclass(frozen=True, kw_only=True)
class FullTraining:
    """Everything about one training.

    Args:
        network: What people call the network.
        spec: The network as described; its classes become those of the data.
        data: Name of the data set.
        recipe: How.
        seed: Determines everything random.
        resolution: Pixels to train at; None for the network's own.
        validation: Share of the training images held out; None for the data set's rule, 0 for
            none, where all of them are trained on.
        devices: See :func:`trainers.machine.machine`.
        accumulate: Shards of a batch that each process runs one after the other.
        workers: Processes that decode images.
        recompute: Whether to compute twice what does not fit into memory.
        formats: Files to export besides the weights.
        trackers: Keys of :data:`results.trackers.TRACKERS`.
        download: Whether a data set may be fetched from its site.
    """

    network: str
    spec: NetworkSpec
    data: str
    recipe: Recipe
    seed: int = 0
    resolution: int | None = None
    validation: float | None = None
    devices: str = "auto"
    accumulate: int = 1
    workers: int = 0
    recompute: bool = False
    formats: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ("tensorboard",)
    download: bool = False

    def check(self) -> None:
        """Raises UserError where something named here does not exist, or the network is too deep
        for its images."""
        check_formats(self.formats, ExportOptions())
        for name in self.trackers:
            if name not in TRACKERS:
                raise UnknownName("tracker", name, TRACKERS)
        check_augmentation(self.recipe.augment)
        for name, least in (("seed", 0), ("accumulate", 1), ("workers", 0), ("resolution", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"`{name}` (={value}) must be at least {least}")
        if self.seed > MOST_SEED:
            raise UserError(f"`seed` (={self.seed}) must be at most {MOST_SEED:,}")
        self.spec_for(self.spec.classes)

    @property
    def pixels(self) -> int:
        """What is trained at."""
        return self.resolution or self.spec.image_size

    def spec_for(self, classes: int) -> NetworkSpec:
        """The network that is trained on so many classes."""
        return training_spec(self.spec, classes, self.pixels, self.recipe.condense_classifier)

    def settings(self, training: Training, data: DataSplits) -> dict[str, Any]:
        """What must be the same when the training is taken up again."""
        return {
            "network": training.spec.id,
            "data": data.fingerprint,
            "validation": self.validation,
            "seed": self.seed,
            "shards": training.shards,
            "recipe": self.recipe.name,
            **self.recipe.to_dict(),
        }


class TrainingDisplay(Protocol):
    """Who is told, in the first process, how a training goes."""

    def begun(self, training: Training, note: str) -> None:
        """It starts, or goes on; the note says what the images are."""

    def updated(self, training: Training) -> None:
        """An update is done."""

    def epoch(self, row: EpochRow) -> None:
        """An epoch is complete."""

    def warn(self, text: str) -> None:
        """Something is to be known."""


def train(
    config: FullTraining, out: Path, display: TrainingDisplay, *, resume: bool = False
) -> Result:
    """Trains, condenses, verifies, evaluates and writes everything down.

    Args:
        config: What and how.
        out: The folder; made if it does not exist.
        display: Who watches.
        resume: Whether to go on where ``out`` holds an unfinished training, or to return what it
            holds if that is complete. Without it ``out`` must hold nothing, with it nothing but a
            training.

    Raises:
        UserError: something of the configuration cannot be used, or ``out`` is taken.
        Diverged: the loss is no number any more.
        Mismatch: the condensed form computes something else.
        trainers.fit.Interrupted: asked to stop; go on with ``resume``.
    """
    config.check()
    if (done := _complete(config, out, resume)) is not None:
        return done
    check_untaken(out, resume=resume)
    fabric = machine(config.devices, config.recipe.precision)
    # All that can be refused is refused before the folder is made.
    data = load_data(
        config.data,
        resolution=config.pixels,
        limit=None,
        download=config.download,
        validation=config.validation,
    )
    training = Training(
        config.spec_for(data.classes),
        data,
        config.recipe,
        seed=config.seed,
        fabric=fabric,
        accumulate=config.accumulate,
        workers=config.workers,
        recompute=config.recompute,
    )
    # Another command may have begun or ended it since.
    with kept(out, fabric, resume=resume):
        if (done := _complete(config, out, resume)) is not None:
            return done
        _train(training, data, config, out, display)
    result = read_result(out)
    assert result is not None
    return result


def _train(
    training: Training, data: DataSplits, config: FullTraining, out: Path, display: TrainingDisplay
) -> None:
    fabric, watcher = training.fabric, _Files(out, config, data.note, display)
    try:
        network = fit(training, out / CHECKPOINT, config.settings(training, data), watcher)
    except TrainingFailed as failure:
        raise Diverged(f"{failure}; lower --lr or look at the data") from None
    finally:
        watcher.close()
    if fabric.global_rank == 0:
        missing = _write_end(network, training, data, config, out).unreadable
        if missing:
            names = ", ".join(missing)
            display.warn(f"{counted(len(missing), 'image')} could not be read: {names}")
    fabric.barrier()


def _complete(config: FullTraining, out: Path, resume: bool) -> Result | None:
    """What the folder's complete training came to; None where there is something to do.

    Raises:
        UserError: the folder is taken, or was asked for otherwise.
    """
    began, done = (out / CHECKPOINT).exists(), read_result(out)
    if (out / ARCHITECTURE).exists() and not began and done is None:
        raise UserError(f"{out} holds a network that was not trained there; choose another --out")
    if not resume and (began or done is not None):
        what = "an unfinished" if done is None else "a complete"
        raise UserError(
            f"{out} holds {what} training already; add --resume to go on with it, or choose"
            " another --out"
        )
    if done is not None:
        _must_be_the_same(config, done, out)
    return done


def _must_be_the_same(config: FullTraining, done: Result, out: Path) -> None:
    """Raises UserError where a complete training was another one than is asked for."""
    recipe = read_recipe(str(out / RECIPE)).to_dict()
    classes = NetworkSpec.load(out / ARCHITECTURE).classes
    then = {"network": done.id, "data": done.data, "validation": done.held_out, "seed": done.seed}
    now = {
        "network": config.spec_for(classes).id,
        "data": config.data,
        "validation": config.validation,
        "seed": config.seed,
    }
    check_same(
        {**then, "recipe": done.recipe, **recipe},
        {**now, "recipe": config.recipe.name, **config.recipe.to_dict()},
        out,
    )


class _Files:
    """A watcher that keeps the folder's tables and the trackers up to date."""

    def __init__(
        self, out: Path, config: FullTraining, note: str, display: TrainingDisplay
    ) -> None:
        self.out = out
        self.config = config
        self.note = note
        self.display = display
        self.trackers: list[Tracker] = []

    def begun(self, training: Training) -> None:
        recipe = self.config.recipe
        words = (
            f"# {self.config.network} on {self.config.data}, seed {self.config.seed},"
            f" {counted(training.shards, 'shard')} a batch\n"
        )
        text = yaml.safe_dump(recipe.to_dict(), sort_keys=False)
        write_atomically(self.out / RECIPE, words + text)
        settings = {**recipe.to_dict(), "network": training.spec.id, "data": self.config.data}
        for name in self.config.trackers:
            tracker = TRACKERS[name](self.out, self.config.network, settings, training.step)
            self.trackers.append(tracker)
        self.display.begun(training, self.note)

    def updated(self, training: Training) -> None:
        self.display.updated(training)

    def step(self, row: StepRow) -> None:
        for tracker in self.trackers:
            tracker.step(row)

    def epoch(self, row: EpochRow, training: Training) -> None:
        write_rows(self.out / "metrics.csv", training.epoch_rows)
        for tracker in self.trackers:
            tracker.epoch(row)
        self.display.epoch(row)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()


def _write_end(
    network: Network, training: Training, data: DataSplits, config: FullTraining, out: Path
) -> Result:
    """Verifies, evaluates and writes; the checkpoint goes when nothing needs it any more."""
    recipe = config.recipe
    write_rows(out / "metrics.csv", training.epoch_rows)
    write_rows(out / "steps.csv", training.step_rows)
    title = f"{config.network} on {config.data.partition(':')[0]}, {recipe.name}"
    draw_curve(training.step_rows, out / "curve.png", epochs=recipe.epochs_in_all, title=title)
    words = (
        f"trained on {config.data} by the recipe {recipe.name}, seed {config.seed}; pixels from 0"
        f" to 255 go in as {data.train.normalisation}"
    )
    export_into(
        network,
        out,
        config.formats,
        origin=Origin(words=words, trained=True, class_names=data.class_names),
    )
    condensed = network.to_inference()
    sample = data.validation or data.train
    images, _ = next(sample.load(in_order(len(sample), recipe.batch_size)))
    check_conversion(network, condensed, images)
    device = training.fabric.device
    save_weights(condensed, out / CONDENSED)
    condensed.to(device)

    def worth(part: Part) -> Measured:
        def logits_of(images: Tensor) -> Tensor:
            logits: Tensor = condensed(images.to(device))
            return logits

        return evaluate(logits_of, part.to(device), recipe.batch_size, workers=config.workers)

    price = cost(training.spec)
    test = data.load_test()
    result = Result(
        network=config.network,
        id=training.spec.id,
        data=config.data,
        recipe=recipe.name,
        epochs=recipe.epochs_in_all,
        seed=config.seed,
        macs=price.macs,
        params=price.params,
        held_out=config.validation,
        validation=worth(data.validation) if data.validation else None,
        test=worth(test),
        wall_s=round(sum(row.wall_s for row in training.epoch_rows), 3),
        unreadable=tuple(dict.fromkeys([*data.unreadable, *test.unreadable])),
    )
    write_atomically(out / RESULT, json.dumps(result.to_dict(), indent=2) + "\n")
    (out / CHECKPOINT).unlink(missing_ok=True)
    return result
