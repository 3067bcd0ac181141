"""A detector being trained: what changes, update by update, and how it is written down."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from results.trial import StepRow
from search_space.backbones import FeatureMaps
from search_space.network import Network
from search_space.spec import NetworkSpec
from trainers.detection.coco import CocoPart
from trainers.detection.detector import DetectorConfig, condensed_detector, new_detector
from trainers.detection.evaluate import evaluate
from trainers.detection.images import AnnotatedImages, Batch, load_batches
from trainers.detection.schedule import DetectionRecipe, learning_rate
from trainers.order import epoch_order
from trainers.regularise import keyed_draws
from trainers.training import EpochSums, Stepwise, TrainingFailed, density

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, kw_only=True)
class DetectionEpoch:
    """One epoch of a training.

    ``train_loss`` is the mean over the images of its updates; ``mean_ap`` and ``ap50`` those of the
    detector as it is then (:class:`trainers.detection.evaluate.Precision`); ``wall_s`` the seconds
    of its updates.
    """

    epoch: int
    step: int
    learning_rate: float
    train_loss: float
    mean_ap: float | None
    ap50: float | None
    density: float
    images_per_s: float
    wall_s: float


class DetectionTraining(Stepwise):
    """A detector, its optimiser and how far they are.

    Args:
        spec: The network.
        config: What is put around it.
        recipe: How it is trained.
        trained: The network with trained weights, None for random ones.
        train: What is trained on.
        judged: What every epoch is judged by.
        seed: Determines initial weights, order, mirroring, and what torchvision's detectors draw.
        fabric: The device, of one process.
        accumulate: Shards of a batch that are run one after the other, in less memory.
        workers: Processes that decode images.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        config: DetectorConfig,
        recipe: DetectionRecipe,
        trained: Network | None,
        train: CocoPart,
        judged: CocoPart,
        *,
        seed: int,
        fabric: Fabric,
        accumulate: int = 1,
        workers: int = 0,
    ) -> None:
        assert (trained is not None) == config.trained
        self.config, self.recipe, self.seed = config, recipe, seed
        self.train_part, self.judged = train, judged
        self.fabric, self.accumulate, self.workers = fabric, accumulate, workers
        self.detector = new_detector(spec, config, trained, seed=seed).to(fabric.device)
        self.optimiser = torch.optim.SGD(
            self.detector.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self.step = 0
        self.step_rows: list[StepRow] = []
        self.epoch_rows: list[DetectionEpoch] = []
        self._row, self._epoch = EpochSums(), EpochSums()
        self.steps_per_epoch = len(self._order(0))
        self.steps = recipe.epochs * self.steps_per_epoch

    # --- How far it is ----------------------------------------------------------------------

    @property
    def network(self) -> FeatureMaps:
        """The network inside the detector."""
        body: FeatureMaps = self.detector.backbone.body  # type: ignore[union-attr, assignment]
        return body

    def _order(self, epoch: int) -> list[tuple[torch.Tensor, ...]]:
        return epoch_order(
            len(self.train_part.targets),
            self.recipe.batch_size,
            shards=self.accumulate,
            seed=self.seed,
            epoch=epoch,
        )

    # --- Going on -----------------------------------------------------------------------------

    def updates(self) -> Iterator[list[StepRow | DetectionEpoch]]:
        """Performs the updates that are left; gives after each the rows that are due, often none.

        Raises:
            TrainingFailed: the loss is not finite.
            UserError: an image cannot be read.
        """
        while self.step < self.steps:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            clock = time.perf_counter()
            for shards in self._shards(epoch, done):
                self._update(shards)
                self.step += 1
                at_end = self.step % self.steps_per_epoch == 0
                due = at_end or self.step % self.steps_per_row == 0
                rows: list[StepRow | DetectionEpoch] = [self._step_row()] if due else []
                self._epoch.wall_s += time.perf_counter() - clock
                if at_end:
                    rows.append(self._epoch_row(epoch + 1))
                yield rows
                clock = time.perf_counter()

    def _shards(self, epoch: int, done: int) -> Iterator[list[Batch]]:
        order = [shard for update in self._order(epoch)[done:] for shard in update]
        images = AnnotatedImages.to_train(self.train_part, (self.seed, epoch))
        batches = load_batches(images, order, workers=self.workers, device=self.fabric.device)
        while shards := list(islice(batches, self.accumulate)):
            yield shards

    def _update(self, shards: list[Batch]) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step, self.steps)
        if not self.config.trained:
            self.network.condense(self.step / self.steps)
        self.detector.train()
        self.optimiser.zero_grad(set_to_none=True)
        for i, (images, targets) in enumerate(shards):
            with keyed_draws(self.fabric.device, self.seed, self.step, i):
                losses = self.detector(images, targets)
            loss = sum(losses.values())
            if not math.isfinite(value := float(loss.detach())):
                parts = ", ".join(
                    f"{name} {float(part.detach()):.3g}" for name, part in losses.items()
                )
                raise TrainingFailed(
                    f"the loss became {value} ({parts}) in update {self.step + 1} of {self.steps}"
                )
            (loss / len(shards)).backward()
            self._row.loss += value * len(images)
            self._row.images += len(images)
        self.optimiser.step()

    def _step_row(self) -> StepRow:
        sums, self._row = self._row, EpochSums()
        self._epoch.loss += sums.loss
        self._epoch.images += sums.images
        row = StepRow(
            step=self.step,
            progress=self.step / self.steps,
            learning_rate=self._learning_rate,
            loss=sums.loss / sums.images,
            density=density(self.network),
        )
        self.step_rows.append(row)
        return row

    def _epoch_row(self, epoch: int) -> DetectionEpoch:
        found = evaluate(
            self.detector,
            self.judged,
            batch_size=max(1, self.recipe.batch_size // self.accumulate),
            device=self.fabric.device,
            workers=self.workers,
        )
        sums, self._epoch = self._epoch, EpochSums()
        row = DetectionEpoch(
            epoch=epoch,
            step=self.step,
            learning_rate=self._learning_rate,
            train_loss=sums.loss / sums.images,
            mean_ap=found.mean_ap,
            ap50=found.ap50,
            density=density(self.network),
            images_per_s=sums.images / sums.wall_s,
            wall_s=sums.wall_s,
        )
        self.epoch_rows.append(row)
        return row

    def finish(self) -> nn.Module:
        """The trained detector with its network in condensed form, in evaluation mode."""
        return condensed_detector(self.detector)

    # --- Writing it down ----------------------------------------------------------------------

    def share_statistics(self) -> None:
        """One process has nothing to share."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, enough to go on after any update."""
        return {
            "detector": self.detector.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "row": asdict(self._row),
            "epoch": asdict(self._epoch),
            "step_rows": [asdict(row) for row in self.step_rows],
            "epoch_rows": [asdict(row) for row in self.epoch_rows],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what :meth:`state` gave."""
        self.detector.load_state_dict(state["detector"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self._row, self._epoch = EpochSums(**state["row"]), EpochSums(**state["epoch"])
        self.step_rows = [StepRow(**row) for row in state["step_rows"]]
        self.epoch_rows = [DetectionEpoch(**row) for row in state["epoch_rows"]]
