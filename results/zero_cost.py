"""How well scores at initialisation, and known costs, order networks as short training does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from results.correlation import Correlation, correlation, kendall, partial_spearman, spearman
from results.metrics import read_rows
from results.trial import Trial
from search_space.errors import UserError

KNOWN = ("macs", "params", "latency_ms")
"""Costs that are known before training, the baselines of every score."""

LEAST_NETWORKS = 5
"""Fewer say nothing of an order."""


@dataclass(frozen=True, kw_only=True)
class ZeroCostRow:
    """One score of one network of a study.

    Args:
        trial: Number of the network's trial.
        network: Its id.
        score: Name of the score.
        value: None where it is no finite number.
        wall_s: Seconds that it took, the making of the network included.
        seed: Of initial weights and images.
        batch: How many images.
    """

    trial: int
    network: str
    score: str
    value: float | None
    wall_s: float
    seed: int
    batch: int


def rows_to_go_on_from(
    path: Path, trials: Sequence[Trial], *, seed: int, batch: int
) -> list[ZeroCostRow]:
    """What a file holds already, nothing where there is none.

    Raises:
        UserError: it cannot be read, or its rows are of other networks, another seed or other
            batches.
    """
    if not path.exists():
        return []
    rows = read_rows(path, ZeroCostRow)
    networks = {trial.number: trial.proposal.spec.id for trial in trials}
    for row in rows:
        if networks.get(row.trial) != row.network:
            raise UserError(
                f"{path} holds scores of network {row.network} as trial {row.trial}, which is none"
                " of this run; choose another --out"
            )
        if (row.seed, row.batch) != (seed, batch):
            raise UserError(
                f"{path} holds scores of --seed {row.seed} --batch {row.batch}, asked for are"
                f" --seed {seed} --batch {batch}; choose another --out"
            )
    return rows


@dataclass(frozen=True, kw_only=True)
class RankedScore:
    """How a score orders networks, beside their accuracy after training.

    Args:
        score: Its name, or that of a cost.
        networks: How many have it.
        spearman: Rank correlation to accuracy; None where undefined.
        kendall: The same by pairs.
        given_macs: What is left of ``spearman`` among networks of like MACs.
        wall_s: Mean seconds per network; None of a cost.
    """

    score: str
    networks: int
    spearman: Correlation | None
    kendall: Correlation | None
    given_macs: Correlation | None
    wall_s: float | None


def ranked_scores(trials: Sequence[Trial], rows: Sequence[ZeroCostRow]) -> list[RankedScore]:
    """Every score, then every known cost, beside the accuracies of complete trials.

    Networks without a finite value of a score are left out of its line.
    """
    accuracy = {t.number: t.score.accuracy for t in trials if t.score is not None}
    costs = {t.number: t.estimate for t in trials}
    found: list[tuple[str, dict[int, float], float | None]] = []
    for name in dict.fromkeys(row.score for row in rows):
        of_score = [row for row in rows if row.score == name]
        values = {row.trial: row.value for row in of_score if row.value is not None}
        wall_s = float(np.mean([row.wall_s for row in of_score]))
        found.append((name, values, wall_s))
    for name in KNOWN:
        found.append((name, {n: float(getattr(costs[n], name)) for n in accuracy}, None))
    return [
        _ranked(
            name,
            list(values.values()),
            [accuracy[n] for n in values],
            [float(costs[n].macs) for n in values],
            wall_s,
        )
        for name, values, wall_s in found
    ]


def _ranked(
    name: str,
    values: Sequence[float],
    accuracy: Sequence[float],
    macs: Sequence[float],
    wall_s: float | None,
) -> RankedScore:
    enough = len(values) >= LEAST_NETWORKS
    return RankedScore(
        score=name,
        networks=len(values),
        spearman=correlation(spearman, values, accuracy) if enough else None,
        kendall=correlation(kendall, values, accuracy) if enough else None,
        given_macs=correlation(partial_spearman, values, accuracy, macs) if enough else None,
        wall_s=wall_s,
    )
