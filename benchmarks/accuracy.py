"""Whether our networks learn what the authors' code learns: both trained alike on the digits.

::

    python -m benchmarks.accuracy --reference-condensenet DIR --reference-condensenetv2 DIR

Both read the same images in the same order by the same recipe (CondenseNet's for CIFAR, of so many
epochs), from initial weights of their own. Judged are the networks with their masks, after the last
drop, on all held-out images. What is complete stands in the file and is not trained again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.training import condensenet_86, condensenetv2_cifar, condensenetv2_cifar_spec
from search_space import NetworkSpec, zoo
from trainers.data import DataSplits, load_data
from trainers.evaluate import evaluate
from trainers.machine import machine
from trainers.order import epoch_order
from trainers.recipe import Recipe
from trainers.recipes import RECIPES
from trainers.schedules import learning_rate
from trainers.training import Training, training_spec

NETWORKS: dict[str, tuple[NetworkSpec, Callable[[Path], nn.Module], str]] = {
    "condensenet-86": (zoo("condensenet-86"), condensenet_86, "reference_condensenet"),
    "condensenetv2-14-14-14": (
        condensenetv2_cifar_spec(),
        condensenetv2_cifar,
        "reference_condensenetv2",
    ),
}
"""Our network, what makes that of the authors, and the option that names their checkout."""
OURS = ("fp32", "bf16")
"""The precisions that our networks are trained in."""


def train_reference(network: nn.Module, data: DataSplits, recipe: Recipe, seed: int) -> nn.Module:
    """The authors' network by the authors' schedule: its layers drop inside ``forward``."""
    # Their layers were pooled for 32 x 32 pixels alone.
    network.features.pool_last = nn.AdaptiveAvgPool2d(1)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    network.train()
    n = len(data.train)
    steps = recipe.epochs * len(epoch_order(n, recipe.batch_size, shards=1, seed=seed, epoch=0))
    step = 0
    for epoch in range(recipe.epochs):
        order = epoch_order(n, recipe.batch_size, shards=1, seed=seed, epoch=epoch)
        batches = data.train.load(
            [batch for (batch,) in order], augment=recipe.augment, seed=(seed, epoch)
        )
        for images, labels in batches:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(recipe, step / steps)
            loss = F.cross_entropy(network(images.contiguous(), step / steps), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
    return network.eval()


def train_ours(
    spec: NetworkSpec, data: DataSplits, recipe: Recipe, seed: int, resolution: int
) -> nn.Module:
    """Our network by our loop."""
    fabric = machine("cpu", recipe.precision)
    spec = training_spec(spec, data.classes, resolution)
    training = Training(spec, data, recipe, seed=seed, fabric=fabric)
    training.validation = None
    for _ in training.updates():
        pass
    return training.finish()


def held_out_accuracy(network: nn.Module, data: DataSplits) -> float:
    """The share of right answers on the validation and the test images together."""
    assert data.validation is not None
    parts = [evaluate(network, part, 64) for part in (data.validation, data.load_test())]
    return sum(p.top1 * p.images for p in parts) / sum(p.images for p in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reference-condensenet", type=Path, required=True, metavar="DIR")
    parser.add_argument("--reference-condensenetv2", type=Path, required=True, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=30, help="default %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--resolution", type=int, default=32, help="pixels, default %(default)s")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="default: all")
    parser.add_argument("--ours", nargs="+", default=["fp32"], choices=OURS)
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks/results/accuracy.json"), metavar="FILE"
    )
    args = parser.parse_args()
    data = load_data("digits", resolution=args.resolution)
    recipe = RECIPES["condensenet-cifar"].replace(epochs=args.epochs)
    names = args.networks or list(NETWORKS)
    rows: list[dict[str, Any]] = json.loads(args.json.read_text()) if args.json.exists() else []
    for seed in range(args.seeds):
        for name in names:
            spec, reference, option = NETWORKS[name]
            for code in ("reference", *args.ours):
                row = {"network": name, "code": code, "seed": seed}
                row |= {"epochs": args.epochs, "resolution": args.resolution}
                if any(row.items() <= done.items() for done in rows):
                    continue
                torch.manual_seed(seed)
                began = time.perf_counter()
                if code == "reference":
                    # Their layers print a line whenever they drop.
                    with contextlib.redirect_stdout(io.StringIO()):
                        theirs = reference(getattr(args, option))
                        trained = train_reference(theirs, data, recipe, seed)
                else:
                    exact = recipe.replace(precision=code.removeprefix("fp"))
                    trained = train_ours(spec, data, exact, seed, args.resolution)
                row["accuracy"] = held_out_accuracy(trained, data)
                row["wall_s"] = round(time.perf_counter() - began, 1)
                rows.append(row)
                print(row, file=sys.stderr, flush=True)
                args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    for name in names:
        for code in ("reference", *args.ours):
            scores = [r["accuracy"] for r in rows if (r["network"], r["code"]) == (name, code)]
            spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
            print(f"{name:<24}{code:<11}{statistics.mean(scores):.2%} +- {spread:.2%}")


if __name__ == "__main__":
    main()
