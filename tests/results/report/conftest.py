"""A report of a search that was made up: a front of three, two networks below it, one failure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from results.remaining import Remaining
from results.report import Reference, Report
from results.search_card import SearchCard
from results.trial import Trial
from search_space import SearchSpace

POINTS = ((0.4, 10.0), (0.8, 14.0), (0.7, 20.0), (0.9, 30.0), (0.3, 12.0))
"""Accuracy and milliseconds of networks 0 to 4; 0, 1 and 3 are the front."""


def reference(name: str, latency_ms: float, accuracy: float | None = None) -> Reference:
    return Reference(
        name=name,
        macs=round(1e5 * latency_ms),
        latency_ms=latency_ms,
        latency_low_ms=0.8 * latency_ms,
        latency_high_ms=1.2 * latency_ms,
        printed="printed: 5 % top-1 error on cifar10",
        accuracy=accuracy,
    )


@pytest.fixture
def trials(trial: Callable[..., Trial]) -> list[Trial]:
    return [*(trial(n, a, ms) for n, (a, ms) in enumerate(POINTS)), trial(5, None)]


@pytest.fixture
def report(
    trials: list[Trial], search_card: Callable[..., SearchCard], space: SearchSpace
) -> Callable[..., Report]:
    """The report with some fields replaced."""
    made = Report(
        card=search_card(states={"complete": 5, "running": 0, "failed": 1}),
        trials=trials,
        remaining=Remaining(networks=0, seconds_each=0.5, training=0, training_s=0.0),
        dimensions=space.dimensions,
        device="board/ncnn/1",
        cautions=[],
        macs_limit=2_000_000,
        latency_limit_ms=40.0,
        references=[reference("condensenet-50", 25.0), reference("sparsenet-40-k12", 36.0)],
    )
    return lambda **changes: dataclasses.replace(made, **changes)
