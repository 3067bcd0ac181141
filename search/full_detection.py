"""From a network and annotated images to a trained detector in a folder, and what it is worth.

What lies in that folder is told in :mod:`search.detector_folder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from results.curve import draw_curve
from results.formats import ARCHITECTURE
from results.metrics import write_rows
from results.trial import StepRow
from results.weights import are_trained, load_weights
from search.detector_folder import (
    DetectionResult,
    read_result,
    write_description,
    write_result,
    write_weights,
)
from search.full_training import MOST_SEED
from search.trained_folder import CHECKPOINT, Diverged, check_untaken, kept
from search_space import NetworkSpec, cost
from search_space.digests import short_hash
from search_space.errors import UserError
from search_space.network import Network
from trainers.checkpoint import check_same
from trainers.detection.coco import PARTS, CocoPart, check_same_categories, coco_path, load_coco
from trainers.detection.cost import CLASSIFIED_SIZE
from trainers.detection.detector import (
    FRAMEWORKS,
    DetectorConfig,
    condensed_detector,
    new_detector,
)
from trainers.detection.evaluate import evaluate, require_pycocotools
from trainers.detection.schedule import BATCH_SIZE, EPOCHS, DetectionRecipe, scaled_rate
from trainers.detection.training import DetectionEpoch, DetectionTraining
from trainers.fit import run_to_end
from trainers.machine import machine
from trainers.training import TrainingFailed

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A detector around a network, before it has learned anything.

    Args:
        network: What people call the network.
        spec: The network as described.
        weights: File of its trained weights, masked or condensed; None for random ones.
        data: ``coco:PATH``.
        framework: A key of :data:`FRAMEWORKS`: what is put around it.
        around: Other values of :class:`DetectorConfig`.
        seed: Determines everything random.
        devices: See :func:`trainers.machine.machine`; one process.

    Raises:
        UserError: a value of what is put around it is out of its range.
    """

    network: str
    spec: NetworkSpec
    weights: Path | None
    data: str
    framework: str
    around: dict[str, Any]
    seed: int = 0
    devices: str = "auto"

    def __post_init__(self) -> None:
        self.config(categories=1)  # refuses values before images are read for their categories

    def config(self, categories: int) -> DetectorConfig:
        """The whole configuration."""
        trained = self.weights is not None
        return DetectorConfig(
            framework=self.framework, **self.around, categories=categories, trained=trained
        )

    def trained_network(self) -> Network | None:
        """The network with its weights, where there are some.

        Raises:
            UserError: they are of another network, cannot be read, or were never trained.
        """
        if self.weights is None:
            return None
        network = load_weights(described_by(self.weights, self.spec), self.weights)
        if not are_trained(self.weights):
            raise UserError(
                f"{self.weights} holds weights as they were drawn, not trained; name others, or"
                " say --from-scratch"
            )
        return network


def one_device(devices: str) -> Fabric:
    """Where a detector is trained or evaluated; raises UserError where that is several."""
    if ":" in devices:
        raise UserError(f"--devices {devices!r} must be auto, cpu or cuda: one process detects")
    fabric = machine(devices)
    if fabric.world_size > 1:
        raise UserError("detectors are trained by one process; begin this command without torchrun")
    return fabric


def described_by(weights: Path, spec: NetworkSpec) -> NetworkSpec:
    """The network as it was when it was classified with: of other classes, or at another size.

    Raises:
        UserError: what lies beside the weights describes another network.
    """
    beside = weights.parent / ARCHITECTURE
    if not beside.is_file():
        return spec
    found = NetworkSpec.load(beside)
    alike = found.replace(classes=spec.classes, image_size=spec.image_size, head=spec.head)
    if alike.id != spec.id:
        raise UserError(
            f"{weights} holds weights of the network in {beside}, not of {spec}; name"
            f" {weights.parent} as the network"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class FullDetection:
    """Everything about one training of a detector.

    Args:
        detection: What is trained.
        epochs: Passes over the training images.
        batch_size: Images of one update.
        learning_rate: The highest; None for the framework's, in proportion to the batch.
        accumulate: Shards of a batch that are run one after the other.
        workers: Processes that decode images.
    """

    detection: Detection
    epochs: int = EPOCHS
    batch_size: int = BATCH_SIZE
    learning_rate: float | None = None
    accumulate: int = 1
    workers: int = 0

    def check(self) -> None:
        """Raises UserError where a value is out of its range."""
        for name, least in (("accumulate", 1), ("workers", 0)):
            if (value := getattr(self, name)) < least:
                raise UserError(f"`{name}` (={value}) must be at least {least}")
        if not 0 <= (seed := self.detection.seed) <= MOST_SEED:
            raise UserError(f"`seed` (={seed}) must be at least 0, at most {MOST_SEED:,}")

    def recipe(self) -> DetectionRecipe:
        """How it is trained."""
        rate = self.learning_rate
        if rate is None:
            usual = FRAMEWORKS[self.detection.framework].learning_rate
            rate = scaled_rate(usual, self.batch_size)
        return DetectionRecipe(epochs=self.epochs, batch_size=self.batch_size, learning_rate=rate)

    def settings(self, train: CocoPart, judged: CocoPart) -> dict[str, Any]:
        """What must be the same when the training is taken up again."""
        weights = self.detection.weights
        return {
            "network": self.detection.spec.id,
            "weights": weights and short_hash([weights.read_bytes()]),
            "train": train.fingerprint(),
            "judged": judged.fingerprint(),
            "seed": self.detection.seed,
            "accumulate": self.accumulate,
            **self.detection.config(len(train.categories)).to_dict(),
            **self.recipe().to_dict(),
        }


class DetectionDisplay(Protocol):
    """Who is told how a training goes."""

    def begun(self, training: DetectionTraining) -> None:
        """It starts, or goes on."""

    def updated(self, training: DetectionTraining) -> None:
        """An update is done."""

    def epoch(self, row: DetectionEpoch) -> None:
        """An epoch is complete."""


def train(
    full: FullDetection, out: Path, display: DetectionDisplay, *, resume: bool = False
) -> DetectionResult:
    """Trains, judges and writes everything down.

    Args:
        full: What and how.
        out: The folder; made if it does not exist.
        display: Who watches.
        resume: Whether to go on where ``out`` holds an unfinished training, or to return what it
            holds if that is complete.

    Raises:
        UserError: something of the configuration cannot be used, or ``out`` is taken.
        Diverged: the loss is no number any more.
        trainers.fit.Interrupted: asked to stop; go on with ``resume``.
    """
    require_pycocotools()
    full.check()
    recipe, detection = full.recipe(), full.detection
    check_untaken(out, resume=resume)
    root = coco_path(detection.data)
    train_part, judged = (load_coco(root, part) for part in PARTS)
    check_same_categories(train_part, judged)
    fabric = one_device(detection.devices)
    training = DetectionTraining(
        detection.spec,
        detection.config(len(train_part.categories)),
        recipe,
        detection.trained_network(),
        train_part,
        judged,
        seed=detection.seed,
        fabric=fabric,
        accumulate=full.accumulate,
        workers=full.workers,
    )
    settings = full.settings(train_part, judged)
    with kept(out, fabric, resume=resume):
        if (done := read_result(out)) is not None:
            check_same(done.settings, settings, out)
            return done
        watcher = _Files(out, full, settings, display)
        try:
            run_to_end(training, out / CHECKPOINT, settings, watcher)
        except TrainingFailed as failure:
            raise Diverged(f"{failure}; lower --lr or look at the data") from None
        return _write_end(training, full, settings, out)


class _Files:
    """A watcher that keeps the folder's tables up to date."""

    def __init__(
        self, out: Path, full: FullDetection, settings: dict[str, Any], display: DetectionDisplay
    ) -> None:
        self.out, self.full, self.settings, self.display = out, full, settings, display

    def begun(self, training: DetectionTraining) -> None:
        spec, config = training.network.spec, training.config
        write_description(self.out, spec, config, training.train_part.categories, self.settings)
        self.display.begun(training)

    def updated(self, training: DetectionTraining) -> None:
        self.display.updated(training)

    def step(self, row: StepRow) -> None:
        """Steps are written at the end."""

    def epoch(self, row: DetectionEpoch, training: DetectionTraining) -> None:
        write_rows(self.out / "metrics.csv", training.epoch_rows)
        self.display.epoch(row)


def _write_end(
    training: DetectionTraining, full: FullDetection, settings: dict[str, Any], out: Path
) -> DetectionResult:
    """Judges the condensed detector and writes; the checkpoint goes when nothing needs it."""
    detection, spec = full.detection, training.network.spec
    write_rows(out / "metrics.csv", training.epoch_rows)
    write_rows(out / "steps.csv", training.step_rows)
    title = f"{FRAMEWORKS[training.config.framework].title} around {detection.network}"
    draw_curve(training.step_rows, out / "curve.png", epochs=full.epochs, title=title)
    detector = training.finish()
    write_weights(detector, spec, out)
    result = DetectionResult(
        network=detection.network,
        id=spec.id,
        data=detection.data,
        settings=settings,
        macs=cost(spec.replace(image_size=CLASSIFIED_SIZE)).macs,
        precision=evaluate(
            detector,
            training.judged,
            batch_size=max(1, full.batch_size // full.accumulate),
            device=training.fabric.device,
            workers=full.workers,
        ),
        wall_s=round(sum(row.wall_s for row in training.epoch_rows), 3),
    )
    write_result(result, out)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return result


def untaught(detection: Detection, categories: int) -> nn.Module:
    """The detector as training would begin with it, its network condensed."""
    config = detection.config(categories)
    trained = detection.trained_network()
    return condensed_detector(new_detector(detection.spec, config, trained, seed=detection.seed))
