"""What a search is for, and what searchers are told so that they seek it.

As a rule that is the front of accuracy and cost. Where the limits say what may be spent, and only
the best accuracy inside them counts, cost is no objective: searchers and rungs are then told that
every network costs the same. What a network really costs stays one of the inputs by which a
searcher may expect its accuracy.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from results.trial import Trial
from searchers.base import Known

Aim = Literal["front", "accuracy"]
AIMS: tuple[Aim, ...] = get_args(Aim)

EQUAL_COST, MOST_COST = 0.0, 1.0
"""What every network is told to cost where cost does not matter, and the cost that is still of
use."""


def known_for(aim: Aim, known: Known) -> Known:
    """What is known of a network before it is trained, as a searcher with this aim is to see it."""
    return known if aim == "front" else dataclasses.replace(known, cost=EQUAL_COST)


def told_for(aim: Aim, trial: Trial) -> Trial:
    """A trial as a searcher with this aim is to see it."""
    if aim == "front":
        return trial
    estimate = dataclasses.replace(
        trial.estimate,
        latency_ms=EQUAL_COST,
        latency_low_ms=EQUAL_COST,
        latency_high_ms=EQUAL_COST,
    )
    return dataclasses.replace(trial, estimate=estimate)


def most_cost(aim: Aim) -> float | None:
    """The cost up to which a network is of use; None where a searcher has to find out."""
    return None if aim == "front" else MOST_COST
