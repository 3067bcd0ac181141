"""Whether short trainings, and scores without any, rank networks as long trainings do.

    python -m benchmarks.cifar.agree --data npz:cifar10.npz [--out runs/cifar-5m]

Random networks inside ``plan.LIMITS`` are scored at initialisation, in every rung of
the searches, and by the final recipe, trained on all images that a search does not hold out and
judged on those that it does. Begun twice, two processes share the work; what stands in
``agreement.csv`` is not done again. In the end it prints how far each score agrees with the long
training.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.cifar.jobs import add_row, claimed, rows_of, train
from benchmarks.cifar.plan import AGREEMENT, IMAGES, LIMITS, RUNGS, SPACE
from results.correlation import correlation, kendall, spearman
from search_space import SPACES, NetworkSpec
from searchers import Admission, make_searcher
from trainers.data import DataSplits, load_data
from trainers.proxy import train_proxy
from trainers.recipes import RECIPES
from trainers.zero_cost import zero_cost_scores

COUNT, SEED = 20, 1
RESOLUTION = 32
HELD_OUT = 0.1


@dataclass(frozen=True, kw_only=True)
class AgreementRow:
    """What is known of one network, costs first; accuracies are of held-out images."""

    id: str
    macs: int
    params: int
    latency_ms: float
    naswot: float
    synflow: float
    gradient_norm: float
    jacobian_covariance: float
    rung_1: float
    rung_2: float
    accuracy: float


def networks() -> list[NetworkSpec]:
    """Uniform draws of the space that keep the limits."""
    space, limits = SPACES[SPACE], LIMITS
    admission = Admission(limits.ratios, limits.feasible(space), limits.known)
    searcher = make_searcher("random", space, admission, SEED)
    searcher.tries = 100_000  # so that none is moved inside, which would not be uniform
    return [searcher.ask(number).spec for number in range(COUNT)]


def score(spec: NetworkSpec, data: str, less: DataSplits, folder: Path) -> AgreementRow:
    """Everything about one network, the long training first."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "network.yaml"
    file.write_text(spec.to_yaml(), encoding="utf-8")
    trained = train(file, SEED, data, folder / "sweep", validation=HELD_OUT)
    assert trained.validation is not None
    rungs = [
        train_proxy(
            spec, less, RECIPES["proxy"].replace(epochs=epochs), seed=SEED, resolution=RESOLUTION
        ).accuracy
        for epochs in RUNGS
    ]
    estimate = LIMITS.estimate(spec)
    return AgreementRow(
        id=spec.id,
        macs=estimate.macs,
        params=estimate.params,
        latency_ms=estimate.latency_ms,
        **zero_cost_scores(spec, less, resolution=RESOLUTION, seed=SEED),
        **{f"rung_{number}": accuracy for number, accuracy in enumerate(rungs, start=1)},
        accuracy=trained.validation.top1,
    )


def report(rows: list[AgreementRow]) -> None:
    """A line for each score: rank correlations with the accuracy of the long training."""
    accuracy = np.array([row.accuracy for row in rows])
    print(f"{len(rows)} networks, {accuracy.min():.1%} to {accuracy.max():.1%}")
    for name in AgreementRow.__dataclass_fields__:
        if name in ("id", "accuracy"):
            continue
        values = np.array([getattr(row, name) for row in rows])
        found = " ".join(str(correlation(kind, values, accuracy)) for kind in (spearman, kendall))
        print(f"{name:22}{found}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/cifar-5m"), metavar="DIR")
    args = parser.parse_args()
    torch.set_num_threads(1)
    less = load_data(args.data, resolution=RESOLUTION, images=IMAGES)
    for spec in networks():
        folder = args.out / "agreement" / spec.id
        with claimed(folder / "lock") as mine:
            if mine and spec.id not in {row.id for row in rows_of(AGREEMENT, AgreementRow)}:
                add_row(args.out, AGREEMENT, score(spec, args.data, less, folder))
    report(rows_of(AGREEMENT, AgreementRow))


if __name__ == "__main__":
    main()
