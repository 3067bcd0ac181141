"""One network being trained: what changes, the update that changes it, and how it is written down.

All randomness derives from (seed, epoch, image) and (seed, update), so that a training that is
taken up again goes on as it would have.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from results.trial import EpochRow, Measured, StepRow
from search_space.build import build
from search_space.modules import drops_at
from search_space.network import Network
from search_space.spec import NetworkSpec
from trainers.data import DataSplits
from trainers.evaluate import average_statistics, evaluate, evaluation_mode, recalibrate
from trainers.machine import over_processes
from trainers.order import epoch_order
from trainers.recipe import Recipe
from trainers.regularise import add_dropout, group_lasso, keyed_draws, parameter_groups
from trainers.schedules import condensing, learning_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MOST_STEP_ROWS = 2000
MOST_STEPS_PER_ROW = 50

Row = StepRow | EpochRow


class TrainingFailed(RuntimeError):
    """The training of this network cannot go on. ``str()`` says why."""


def training_spec(
    spec: NetworkSpec, classes: int, resolution: int, condense_classifier: str = "spec"
) -> NetworkSpec:
    """A network for other classes and another resolution, its classifier condensed when told."""
    head = spec.head
    if condense_classifier != "spec" and head.condense_factor > 1:
        head = dataclasses.replace(head, condense_at=condense_classifier)
    return spec.replace(image_size=resolution, classes=classes, head=head)


class Stepwise:
    """What is trained in so many ``steps`` by an optimiser."""

    steps: int
    optimiser: torch.optim.Optimizer

    @property
    def steps_per_row(self) -> int:
        """Updates between two rows, so many that their number stays readable."""
        return min(MOST_STEPS_PER_ROW, max(1, self.steps // MOST_STEP_ROWS))

    @property
    def _learning_rate(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])


class Training(Stepwise):
    """A network, its optimiser and how far they are.

    Args:
        spec: The network; its resolution and classes are those of the data.
        data: Its ``train`` and ``validation`` parts are used, ``test`` is not.
        recipe: How.
        seed: Determines initial weights, order, augmentation and dropout.
        fabric: Processes, device and precision.
        accumulate: Shards of a batch that a process runs one after the other, in less memory.
        workers: Processes that decode images, where these lie in files.
        recompute: Whether intermediate results are computed twice, in less memory.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        data: DataSplits,
        recipe: Recipe,
        *,
        seed: int,
        fabric: Fabric,
        accumulate: int = 1,
        workers: int = 0,
        recompute: bool = False,
    ) -> None:
        self.spec = spec
        self.recipe = recipe
        self.seed = seed
        self.fabric = fabric
        self.accumulate = accumulate
        self.workers = workers
        self.train_part = data.train.to(fabric.device)
        self.validation = data.validation and data.validation.to(fabric.device)
        self.network = build(spec, generator=torch.Generator().manual_seed(seed))
        self.network.recompute = recompute
        self.network.to(memory_format=torch.channels_last)
        add_dropout(self.network, recipe)
        self.optimiser = torch.optim.SGD(
            parameter_groups(self.network, recipe),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=True,
        )
        self._model, self._stepper = fabric.setup(self.network, self.optimiser)
        self.step = 0
        self.average = self._moving_average()
        self.step_rows: list[StepRow] = []
        self.epoch_rows: list[EpochRow] = []
        self.density = 1.0
        self._due: tuple[int, ...] | None = None
        self._since_row = _Sums(fabric.device)
        self._epoch = EpochSums()
        self.steps_per_epoch = len(self._order(0))
        self.steps = recipe.epochs_in_all * self.steps_per_epoch

    # --- How far it is ----------------------------------------------------------------------

    @property
    def shards(self) -> int:
        """In how many parts a batch is run, over all processes; each has its own statistics."""
        return int(self.fabric.world_size) * self.accumulate

    @property
    def result(self) -> Network:
        """The network whose weights are kept: the moving average where there is one."""
        if self.average is None:
            return self.network
        averaged = self.average.module
        assert isinstance(averaged, Network)
        return averaged

    def _order(self, epoch: int) -> list[tuple[Tensor, ...]]:
        return epoch_order(
            len(self.train_part),
            self.recipe.batch_size,
            shards=self.shards,
            seed=self.seed,
            epoch=epoch,
        )

    def _moving_average(self) -> AveragedModel | None:
        """A copy whose weights follow slowly; masks and statistics of norms follow at once.

        After n updates it keeps at most (1 + n) / (10 + n) of itself, as that of TensorFlow may, so
        that a short training does not end with its first weights.
        """
        if not self.recipe.ema_decay:
            return None

        def follow(averages: Any, weights: Any, count: Any) -> None:
            decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
            get_ema_multi_avg_fn(decay)(averages, weights, count)  # type: ignore[no-untyped-call]

        return AveragedModel(self.network, multi_avg_fn=follow)

    # --- Going on -----------------------------------------------------------------------------

    def updates(self) -> Iterator[list[Row]]:
        """Performs the updates that are left; gives after each the rows that are due, often none.

        Raises:
            TrainingFailed: the loss is not finite.
        """
        while self.step < self.steps:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            clock = time.perf_counter()
            for shards in self._shards(epoch, done):
                dropped = self._update(shards)
                self.step += 1
                at_end = self.step % self.steps_per_epoch == 0
                due = dropped or at_end or self.step % self.steps_per_row == 0
                rows: list[Row] = [self._step_row()] if due else []
                self._epoch.wall_s += time.perf_counter() - clock
                if at_end:
                    rows.append(self._epoch_row(epoch + 1))
                yield rows
                clock = time.perf_counter()

    def _shards(self, epoch: int, done: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """The batches of this process, by update."""
        first = self.fabric.global_rank * self.accumulate
        own = [
            shard
            for update in self._order(epoch)[done:]
            for shard in update[first : first + self.accumulate]
        ]
        batches = self.train_part.load(
            own, augment=self.recipe.augment, seed=(self.seed, epoch), workers=self.workers
        )
        while shards := list(islice(batches, self.accumulate)):
            yield shards

    def _update(self, shards: list[tuple[Tensor, Tensor]]) -> bool:
        """One update; returns whether candidates were dropped before it."""
        progress = self.step / self.steps
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, progress)
        dropped = self._condense(condensing(self.recipe, progress))
        self._model.train()
        self.optimiser.zero_grad(set_to_none=True)
        for i, (images, labels) in enumerate(shards):
            last = i == len(shards) - 1
            with self.fabric.no_backward_sync(self._model, enabled=not last):
                self._backward(images, labels, i, len(shards))
        self._stepper.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return dropped

    def _backward(self, images: Tensor, labels: Tensor, shard: int, shards: int) -> None:
        images, labels = self.fabric.to_device((images, labels))
        recipe = self.recipe
        if recipe.dropout or recipe.classifier_dropout:
            place = self.fabric.global_rank * shards + shard
            with keyed_draws(self.fabric.device, self.seed, self.step, place):
                logits = self._model(images)
        else:
            logits = self._model(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        penalty = recipe.group_lasso * group_lasso(self.network) if recipe.group_lasso else 0.0
        self.fabric.backward((loss + penalty) / shards)
        self._since_row.add(loss.detach(), logits.detach(), labels)

    def _condense(self, progress: float) -> bool:
        """Performs the drops that are due, the same in every process."""
        layers = self.network.learned_layers.values()
        due = tuple(drops_at(progress, layer.factor) for layer in layers)
        if due == self._due:
            return False
        self._due = due
        self.network.condense(progress)
        before, self.density = self.density, density(self.network)
        _check_equal_masks(self.network, self.fabric)
        return self.density < before

    def _step_row(self) -> StepRow:
        loss, correct, images = self._since_row.take(self.fabric)
        if not math.isfinite(loss):
            raise TrainingFailed(f"the loss became {loss} by update {self.step} of {self.steps}")
        self._epoch.loss += loss
        self._epoch.correct += correct
        self._epoch.images += images
        row = StepRow(
            step=self.step,
            progress=self.step / self.steps,
            learning_rate=self._learning_rate,
            loss=loss / images,
            density=self.density,
        )
        self.step_rows.append(row)
        return row

    def _epoch_row(self, epoch: int) -> EpochRow:
        self.share_statistics()
        measured = self._validate()
        sums, self._epoch = self._epoch, EpochSums()
        row = EpochRow(
            epoch=epoch,
            step=self.step,
            learning_rate=self._learning_rate,
            train_loss=sums.loss / sums.images,
            train_top1=sums.correct / sums.images,
            val_loss=None if measured is None else measured.loss,
            val_top1=None if measured is None else measured.top1,
            val_top5=None if measured is None else measured.top5,
            density=self.density,
            images_per_s=sums.images / sums.wall_s,
            wall_s=sums.wall_s,
        )
        self.epoch_rows.append(row)
        return row

    def _validate(self) -> Measured | None:
        if self.validation is None:
            return None
        network = self.result
        with evaluation_mode(network), self.fabric.autocast():
            return evaluate(
                network,
                self.validation,
                self.recipe.batch_size,
                fabric=self.fabric,
                workers=self.workers,
            )

    # --- The end ------------------------------------------------------------------------------

    def finish(self) -> Network:
        """The trained network, every drop performed, on the CPU and in evaluation mode.

        A classifier that is condensed at conversion loses its features here.
        """
        network = self.result
        # However few the updates were, all drops are due by now.
        network.condense_for_conversion()
        if self.recipe.recalibration_batches:
            recalibrate(
                network,
                self.train_part,
                max(2, self.recipe.batch_size // self.shards),
                batches=self.recipe.recalibration_batches,
                augment=self.recipe.augment,
            )
        return network.eval().cpu()

    # --- Writing it down ----------------------------------------------------------------------

    def share_statistics(self) -> None:
        """Gives norms the statistics of all processes; the state of any is then that of all."""
        for network in dict.fromkeys((self.network, self.result)):
            average_statistics(network, self.fabric)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, enough to go on after any update."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "step": self.step,
            "since_row": self._since_row.values,
            "epoch": asdict(self._epoch),
            "step_rows": [asdict(row) for row in self.step_rows],
            "epoch_rows": [asdict(row) for row in self.epoch_rows],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what :meth:`state` gave."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step = state["step"]
        self.density = density(self.network)
        self._since_row.values.copy_(state["since_row"])
        self._epoch = EpochSums(**state["epoch"])
        self.step_rows = [StepRow(**row) for row in state["step_rows"]]
        self.epoch_rows = [EpochRow(**row) for row in state["epoch_rows"]]


@dataclass
class EpochSums:
    """What has been summed since the epoch began, over all processes."""

    loss: float = 0.0
    correct: float = 0.0
    images: float = 0.0
    wall_s: float = 0.0


class _Sums:
    """Loss, right answers and images since the last row; on the device, which need not be waited
    for after each update."""

    def __init__(self, device: torch.device) -> None:
        self.values = torch.zeros(3, dtype=torch.float64, device=device)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        images = len(labels)
        correct = (logits.argmax(1) == labels).sum()
        self.values += torch.stack([loss * images, correct, torch.full_like(loss, images)])

    def take(self, fabric: Fabric) -> tuple[float, float, float]:
        """The sums over all processes; the next ones begin at zero."""
        loss, correct, images = over_processes(fabric, self.values, "sum").tolist()
        self.values.zero_()
        return loss, correct, images


def density(network: Network) -> float:
    """The share of candidates that the learned layers keep; 1 where none learns."""
    masks = [layer.mask for layer in network.learned_layers.values()]
    if not masks:
        return 1.0
    return sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)


def _check_equal_masks(network: Network, fabric: Fabric) -> None:
    """Raises RuntimeError where processes have dropped different candidates."""
    if fabric.world_size == 1:
        return
    for name, layer in network.learned_layers.items():
        votes = over_processes(fabric, layer.mask.float(), "mean")
        if not torch.isin(votes, torch.tensor([0.0, 1.0], device=votes.device)).all():
            raise RuntimeError(
                f"the processes have dropped different candidates of {name}: their weights have"
                " drifted apart"
            )
