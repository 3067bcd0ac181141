"""How far predictions are from measurements that had no part in the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from latency_models.devices import Device
from latency_models.kernels import Kernel
from latency_models.predict import Latency, predict_kernels
from search_space.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A network's predicted and measured time."""

    network: str
    predicted: Latency
    measured_ms: float

    @property
    def error(self) -> float:
        """Relative to the measured time; negative where the prediction is too fast."""
        return self.predicted.ms / self.measured_ms - 1


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Errors over networks, as fractions of the measured time.

    Attributes:
        networks: How many.
        mean: Mean absolute error.
        median: Median absolute error.
        within_10_percent: Share of the networks predicted to within 10 %.
        within_20_percent: Share of the networks predicted to within 20 %.
        spearman: Rank correlation of predicted and measured times; None for fewer than three
            networks, or where all times are the same.
        covered: Share of the networks whose measured time is inside the interval.
    """

    networks: int
    mean: float
    median: float
    within_10_percent: float
    within_20_percent: float
    spearman: float | None
    covered: float


def judge(
    networks: Mapping[str, Sequence[Kernel]], measured_ms: Mapping[str, float], on: Device
) -> list[Judged]:
    """Predicts every network that has both layers and a time.

    Raises:
        UserError: none has both.
    """
    names = [name for name in measured_ms if networks.get(name)]
    if not names:
        raise UserError("no network has both layers and a measured time; compare their names")
    return [
        Judged(
            network=name,
            predicted=predict_kernels(networks[name], on),
            measured_ms=measured_ms[name],
        )
        for name in names
    ]


def evaluation(judged: Sequence[Judged]) -> Evaluation:
    """What the errors of some networks sum up to."""
    error = np.abs([j.error for j in judged])
    inside = [j.predicted.low_ms <= j.measured_ms <= j.predicted.high_ms for j in judged]
    times = np.array([(j.predicted.ms, j.measured_ms) for j in judged])
    ranked = len(judged) > 2 and np.ptp(times, axis=0).all()
    return Evaluation(
        networks=len(judged),
        mean=float(error.mean()),
        median=float(np.median(error)),
        within_10_percent=float((error <= 0.1).mean()),
        within_20_percent=float((error <= 0.2).mean()),
        spearman=float(spearmanr(times).statistic) if ranked else None,
        covered=float(np.mean(inside)),
    )
