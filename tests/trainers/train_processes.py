"""Three updates on digits; every process writes what it came to into a file of its own.

Run by ``torchrun``, or :func:`train` by a test as one process.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch

from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec
from trainers.data import load_data
from trainers.evaluate import evaluate, evaluation_mode, norms_of
from trainers.machine import machine
from trainers.recipe import Recipe
from trainers.training import Training

SPEC = NetworkSpec(
    image_size=8,
    classes=10,
    stem=StemSpec(channels=16),
    stages=(
        DenseStage(
            depth=2,
            growth_rate=8,
            groups_1x1=4,
            condense_factor=4,
            groups_3x3=4,
            sfr="all",
            sparse_factor=3,
            sfr_groups=4,
        ),
    ),
    head=HeadSpec(condense_factor=2),
)
RECIPE = Recipe(
    name="three updates",
    epochs=1,
    batch_size=32,
    learning_rate=0.05,
    label_smoothing=0.1,
    ema_decay=0.5,
)
"""A factor of 4 drops twice before the second and once before the third update; a factor of 3 once
before either; one of 2 before the third."""


def train(folder: Path, *, accumulate: int) -> None:
    """Trains, and writes ``RANK.pt``."""
    torch.set_num_threads(1)
    data = load_data("digits", resolution=8)
    data = dataclasses.replace(
        data,
        train=data.train.select(torch.arange(96)),
        validation=data.validation.select(torch.arange(60)),
    )
    fabric = machine("cpu")
    training = Training(SPEC, data, RECIPE, seed=0, fabric=fabric, accumulate=accumulate)
    with evaluation_mode(training.network):
        before = evaluate(training.network, data.validation, 8, fabric=fabric)
    masks = []
    for _ in training.updates():
        layers = training.network.learned_layers
        masks.append({name: layer.mask.clone() for name, layer in layers.items()})
        if training.step == 2:
            # As where it is left in the middle of an epoch.
            training.share_statistics()
            left = {n: t.clone() for n, t in training.state()["network"].items()}
    content = {
        "processes": fabric.world_size,
        "before": dataclasses.asdict(before),
        "masks": masks,
        "left": left,
        "weights": {n: p.detach().clone() for n, p in training.network.named_parameters()},
        "average": {n: p.detach().clone() for n, p in training.result.named_parameters()},
        "statistics": [norm.running_var.clone() for norm in norms_of(training.result)],
        "losses": [row.loss for row in training.step_rows],
        "val_loss": training.epoch_rows[-1].val_loss,
    }
    condensed = training.finish()
    content["finished"] = {n: layer.mask for n, layer in condensed.learned_layers.items()}
    torch.save(content, folder / f"{fabric.global_rank}.pt")


if __name__ == "__main__":
    train(Path(sys.argv[1]), accumulate=1)
