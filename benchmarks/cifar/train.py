"""Trains the found and the hand-designed networks alike, on all 50,000 images, with several seeds.

    python -m benchmarks.cifar.train --data npz:cifar10.npz [--out runs/cifar-5m]

Begun twice, two processes share the work. Interrupted trainings go on from their last epoch; those
that stand in ``trained.csv`` are not done again. The test images are read once, after the last
epoch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cifar.jobs import add_row, claimed, rows_of, train
from benchmarks.cifar.plan import EPOCHS, NETWORKS, SEEDS, TRAINED
from search.trained_folder import Result
from search_space import NetworkSpec


@dataclass(frozen=True, kw_only=True)
class TrainedRow:
    """One training; ``top1`` and ``loss`` are of the test images, by the condensed network."""

    network: str
    id: str
    seed: int
    macs: int
    params: int
    epochs: int
    top1: float
    loss: float
    wall_s: float

    @classmethod
    def of(cls, network: str, result: Result) -> TrainedRow:
        """What of a training is kept."""
        return cls(
            network=network,
            id=result.id,
            seed=result.seed,
            macs=result.macs,
            params=result.params,
            epochs=result.epochs,
            top1=result.test.top1,
            loss=result.test.loss,
            wall_s=round(result.wall_s, 1),
        )


def jobs() -> Iterator[tuple[Path, int]]:
    """Files of networks, and seeds: the first seed of all networks first."""
    for seed in range(max(SEEDS.values())):
        for name, seeds in SEEDS.items():
            file = NETWORKS / f"{name}.yaml"
            if seed < seeds and file.is_file():
                yield file, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/cifar-5m"), metavar="DIR")
    args = parser.parse_args()
    if missing := [name for name in SEEDS if not (NETWORKS / f"{name}.yaml").is_file()]:
        print(f"not there yet, and left out: {', '.join(missing)}", file=sys.stderr)
    for file, seed in jobs():
        id_ = NetworkSpec.load(file).id
        with claimed(TRAINED, f"{id_}-{seed}") as mine:
            if mine and seed not in [row.seed for row in trained().get(id_, ())]:
                folder = args.out / "trained" / id_ / "sweep"
                result = train(file, seed, args.data, folder, validation=0)
                add_row(TRAINED, TrainedRow.of(file.stem, result))


def trained() -> dict[str, list[TrainedRow]]:
    """The full trainings that are done, by the network's id, in the order of their seeds."""
    found: dict[str, list[TrainedRow]] = {}
    for row in sorted(rows_of(TRAINED, TrainedRow), key=lambda row: row.seed):
        if row.epochs == EPOCHS:
            found.setdefault(row.id, []).append(row)
    return found


if __name__ == "__main__":
    main()
