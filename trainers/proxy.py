"""A short training that runs the whole condensing schedule and scores the condensed network."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from results.trial import Score
from search_space.network import check_conversion
from search_space.spec import NetworkSpec
from trainers.data import DataSplits
from trainers.evaluate import evaluate
from trainers.machine import machine
from trainers.order import in_order
from trainers.recipe import Recipe
from trainers.training import Training, TrainingFailed, training_spec

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train_proxy(
    spec: NetworkSpec,
    data: DataSplits,
    recipe: Recipe,
    *,
    seed: int,
    resolution: int,
    fabric: Fabric | None = None,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
) -> Score:
    """Trains a candidate briefly, condenses it fully, and scores the condensed network.

    Args:
        spec: The target network; it is trained at ``resolution`` pixels.
        data: Its ``train`` and ``validation`` parts are used, ``test`` is not.
        recipe: How.
        seed: Determines initial weights, order and augmentation.
        resolution: That of the data.
        fabric: On what; None for the CPU.
        on_step: Called after each update with (updates done, of how many).

    Raises:
        TrainingFailed: a loss is not finite, or memory does not suffice.
    """
    with _out_of_memory_is_a_failure():
        start = time.monotonic()
        assert data.validation is not None, "a search holds images out"
        small = training_spec(spec, data.classes, resolution, recipe.condense_classifier)
        fabric = fabric or machine("cpu", recipe.precision)
        training = Training(small, _unvalidated(data), recipe, seed=seed, fabric=fabric)
        for _ in training.updates():
            on_step(training.step, training.steps)
        network = training.finish()
        condensed = network.to_inference()
        measured = evaluate(condensed, data.validation, recipe.batch_size)
        if not math.isfinite(measured.loss):
            raise TrainingFailed(f"the validation loss is {measured.loss}")
        images, _ = next(data.validation.load(in_order(len(data.validation), recipe.batch_size)))
        check_conversion(network, condensed, images)
        return Score(
            accuracy=measured.top1,
            loss=measured.loss,
            epochs=recipe.epochs_in_all,
            wall_s=time.monotonic() - start,
        )


def _unvalidated(data: DataSplits) -> DataSplits:
    """The same without the images that are not looked at before the end."""
    return dataclasses.replace(data, validation=None)


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
