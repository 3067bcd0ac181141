"""A short training that runs the whole condensing schedule and scores the condensed network."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from results.trial import Score
from search_space.build import build
from search_space.errors import UserError
from search_space.network import check_conversion
from search_space.spec import NetworkSpec
from trainers.data import DataSplits, Part

RECALIBRATION_BATCHES = 8


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A proxy training. The defaults are the papers' CIFAR recipe but for its length.

    SGD with Nesterov momentum, learning rate falling as a cosine per iteration; condensing
    over the first half (CondenseNet, section 4.1).

    Raises:
        UserError: a value is out of its range.
    """

    epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    resolution: int = 32

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "resolution"):
            if getattr(self, name) < 1:
                raise UserError(f"`{name}` (={getattr(self, name)}) must be at least 1")
        if self.batch_size < 2:
            raise UserError("`batch_size` (=1) must be at least 2: batch norm needs a batch")
        if not 0 < self.momentum < 1:
            raise UserError(f"`momentum` (={self.momentum}) must be between 0 and 1")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"`weight_decay` (={self.weight_decay}) must be at least 0 and finite")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"`learning_rate` (={self.learning_rate}) must be positive and finite")


class TrainingFailed(RuntimeError):
    """The training of one candidate cannot go on; the search can. ``str()`` says why."""


def cosine(step: int, steps: int) -> float:
    """The share of the initial learning rate at a step of ``steps`` (CondenseNet, fig. 4)."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def proxy_spec(spec: NetworkSpec, data: DataSplits, resolution: int) -> NetworkSpec:
    """The candidate at the proxy's resolution with the data set's classes; else unchanged."""
    return spec.replace(image_size=resolution, classes=data.classes)


def train_proxy(
    spec: NetworkSpec,
    data: DataSplits,
    config: TrainConfig,
    *,
    seed: int,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
) -> Score:
    """Trains a candidate briefly, condenses it fully, and scores the condensed network.

    Args:
        spec: The target network; it is trained at ``config.resolution``.
        data: Its ``train`` and ``validation`` parts are used, ``test`` is not.
        config: The recipe.
        seed: Determines initial weights, order and augmentation.
        on_step: Called after each iteration with (iterations done, of how many).

    Raises:
        TrainingFailed: the loss is not finite, or memory does not suffice.
    """
    with _out_of_memory_is_a_failure():
        return _train(spec, data, config, seed, on_step)


def _train(
    spec: NetworkSpec,
    data: DataSplits,
    config: TrainConfig,
    seed: int,
    on_step: Callable[[int, int], None],
) -> Score:
    start = time.monotonic()
    generator = torch.Generator().manual_seed(seed)
    network = build(proxy_spec(spec, data, config.resolution), generator=generator)
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=True,
    )
    steps = config.epochs * data.train.batch_count(config.batch_size)
    step = 0
    for _ in range(config.epochs):
        for images, labels in data.train.batches(config.batch_size, generator):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * cosine(step, steps)
            network.condense(step / steps)
            loss = _step(network, optimiser, images, labels)
            if not math.isfinite(loss):
                raise TrainingFailed(f"the loss became {loss} at iteration {step + 1} of {steps}")
            step += 1
            on_step(step, steps)
    # However few the iterations were, all drops are due by now.
    network.condense(1.0)
    # A classifier that is condensed after training loses its features here.
    network.condense_for_conversion()
    recalibrate(network, data.train, config.batch_size)
    condensed = network.eval().to_inference()
    images, _ = next(data.validation.batches(config.batch_size))
    check_conversion(network, condensed, images)
    accuracy, validation_loss = evaluate(condensed, data.validation, config.batch_size)
    if not math.isfinite(validation_loss):
        raise TrainingFailed(f"the validation loss is {validation_loss}")
    return Score(
        accuracy=accuracy,
        loss=validation_loss,
        epochs=config.epochs,
        wall_s=time.monotonic() - start,
    )


@contextmanager
def _out_of_memory_is_a_failure() -> Iterator[None]:
    """One candidate that does not fit into memory does not end the search."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise TrainingFailed(f"out of memory: {error}") from None
    except RuntimeError as error:
        # torch's allocator for the CPU raises a plain RuntimeError.
        if "memory" not in str(error) or "alloc" not in str(error):
            raise
        raise TrainingFailed(f"out of memory: {error}") from None


def _step(
    network: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> float:
    """One update; returns the loss before it."""
    network.train()
    optimiser.zero_grad(set_to_none=True)
    logits = network(images.contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(logits, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.item()


@torch.no_grad()
def recalibrate(network: nn.Module, part: Part, batch_size: int) -> None:
    """Computes the batch-norm statistics anew from ``RECALIBRATION_BATCHES`` random batches.

    Running averages lag behind weights that still change fast: after a short training they
    describe a network that no longer is, and the score would tell more of them than of it.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    network.train()
    # Data sets are stored class by class; the order has to be a random one, always the same.
    generator = torch.Generator().manual_seed(0)
    for images, _ in islice(part.batches(batch_size, generator), RECALIBRATION_BATCHES):
        network(images.contiguous(memory_format=torch.channels_last))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def evaluate(network: nn.Module, part: Part, batch_size: int) -> tuple[float, float]:
    """Accuracy (a fraction) and mean cross-entropy of a network in evaluation mode."""
    network.eval()
    correct = 0
    loss = 0.0
    for images, labels in part.batches(batch_size):
        logits = network(images)
        correct += int((logits.argmax(1) == labels).sum())
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
    return correct / len(part), loss / len(part)
