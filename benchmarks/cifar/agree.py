"""Whether short trainings, and scores without any, rank networks as long trainings do.

    python -m benchmarks.cifar.agree --data npz:cifar10.npz [--out runs/cifar-5m]

Random networks inside ``plan.LIMITS`` are trained by the final recipe, in the precision of the
searches, on all images that these do not hold out, and judged on those that they do. Of the
networks that are compared the accuracy stands in ``trained.csv``, of the test images after training
on all others. All are trained as in every rung of the searches, and scored at initialisation.

Begun twice, two processes share the work; what stands in ``agreement.csv`` is not done again. In
the end it prints how far each score agrees with the long training.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from benchmarks.cifar.jobs import add_row, claimed, rows_of, train
from benchmarks.cifar.plan import AGREEMENT, LIMITS, NETWORKS, PRECISION, RUNGS, SPACE
from benchmarks.cifar.train import trained
from results.correlation import correlation, kendall, spearman
from search_space import SPACES, NetworkSpec
from searchers import Admission, make_searcher
from trainers.data import DataSplits, load_data
from trainers.proxy import train_proxy
from trainers.recipes import RECIPES
from trainers.zero_cost import ZERO_COST, zero_cost_scores

COUNT, SEED = 12, 1
RESOLUTION = 32
HELD_OUT = 0.1
FEW = 15_000
"""Images of a short training that costs what the cheapest rung does, in more epochs."""
ACCURACY = "accuracy"
COSTS = ("macs", "params", "latency_ms")


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One score of one network; accuracies are of held-out images."""

    id: str
    score: str
    value: float


def random_networks() -> list[NetworkSpec]:
    """Uniform draws of the space that keep the limits."""
    space, limits = SPACES[SPACE], LIMITS
    admission = Admission(limits.ratios, limits.feasible(space), limits.known)
    searcher = make_searcher("random", space, admission, SEED)
    searcher.tries = 100_000  # so that none is moved inside, which would not be uniform
    return [searcher.ask(number).spec for number in range(COUNT)]


def compared_networks() -> list[NetworkSpec]:
    """Those of ``trained.csv``."""
    return [NetworkSpec.load(NETWORKS / f"{rows[0].network}.yaml") for rows in trained().values()]


class Scorer:
    """Finds out all scores of a network.

    Args:
        data: As ``--data`` has it.
        out: Where unfinished trainings lie.
    """

    def __init__(self, data: str, out: Path) -> None:
        self.data, self.out = data, out
        self.all = load_data(data, resolution=RESOLUTION, validation=HELD_OUT)
        self.few = load_data(data, resolution=RESOLUTION, validation=HELD_OUT, images=FEW)

    def scores(self, spec: NetworkSpec) -> dict[str, Callable[[], float]]:
        """Scores by name, each computed when called, the long training first."""
        few_epochs = len(self.all.train) // FEW * RUNGS[0]
        return {
            ACCURACY: partial(self.long_training, spec),
            **{f"epochs={n}": partial(self.short_training, spec, self.all, n) for n in RUNGS},
            f"epochs={few_epochs}, images={FEW}": partial(
                self.short_training, spec, self.few, few_epochs
            ),
            **{name: partial(self.at_initialisation, spec, name) for name in ZERO_COST},
            **{name: partial(getattr, LIMITS.estimate(spec), name) for name in COSTS},
        }

    def long_training(self, spec: NetworkSpec) -> float:
        folder = self.out / spec.id
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "network.yaml"
        file.write_text(spec.to_yaml(), encoding="utf-8")
        result = train(
            file, SEED, self.data, folder / "sweep", validation=HELD_OUT, precision=PRECISION
        )
        assert result.validation is not None
        return result.validation.top1

    def short_training(self, spec: NetworkSpec, splits: DataSplits, epochs: int) -> float:
        recipe = RECIPES["proxy"].replace(epochs=epochs, precision=PRECISION)
        return train_proxy(spec, splits, recipe, seed=SEED, resolution=RESOLUTION).accuracy

    def at_initialisation(self, spec: NetworkSpec, name: str) -> float:
        found = zero_cost_scores(spec, self.all, resolution=RESOLUTION, seed=SEED, scores=(name,))
        return found[name]


def table() -> dict[str, dict[str, float]]:
    """What is found out so far: scores by name, by the network's id."""
    found = {id: {ACCURACY: mean(row.top1 for row in rows)} for id, rows in trained().items()}
    for row in rows_of(AGREEMENT, ScoreRow):
        found.setdefault(row.id, {})[row.score] = row.value
    return found


def report(kind: str, networks: list[dict[str, float]]) -> None:
    """A line for each score: rank correlations with the accuracy of the long training."""
    accuracy = np.array([scores[ACCURACY] for scores in networks])
    print(f"{len(networks)} {kind}, {accuracy.min():.1%} to {accuracy.max():.1%}")
    for name in (name for name in networks[0] if name != ACCURACY):
        values = np.array([scores[name] for scores in networks])
        found = [str(correlation(rank, values, accuracy)) for rank in (spearman, kendall)]
        print(f"{name:28}{'  '.join(found)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/cifar-5m"), metavar="DIR")
    args = parser.parse_args()
    torch.set_num_threads(1)
    scorer = Scorer(args.data, args.out / "agreement")
    drawn = random_networks()
    for spec in (*compared_networks(), *drawn):
        with claimed(AGREEMENT, spec.id) as mine:
            for name, score in scorer.scores(spec).items() if mine else ():
                if name not in table().get(spec.id, {}):
                    add_row(AGREEMENT, ScoreRow(id=spec.id, score=name, value=score()))
    # Others may still be at work on some of them.
    names = scorer.scores(drawn[0]).keys()
    complete = {id: scores for id, scores in table().items() if scores.keys() >= names}
    random = [complete[spec.id] for spec in drawn if spec.id in complete]
    if len(random) > 1:
        report("random networks", random)
        report("networks, with those that are compared", list(complete.values()))


if __name__ == "__main__":
    main()
