"""Which of many trainings a model is to be fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from results.pareto import evenly
from results.trial import Trial, contenders
from searchers.dominance import leaders

MOST = 300
"""Trials that a Gaussian process is fitted to; the time it takes grows with their cube."""


def telling(trials: Sequence[Trial], most: int) -> Sequence[Trial]:
    """Those complete trials, ``most`` of them at most, that tell most of what to train next.

    Half of them may be of the front of those that can be compared, a quarter are the newest, and
    the rest spread evenly over the others in the order of their accuracies, and over rungs.

    Args:
        trials: In the order of their numbers, in which they are returned too.
        most: How many at most; where there are no more, all.
    """
    if len(trials) <= most:
        return trials
    compared = contenders(trials)
    accuracy, cost = np.transpose([trial.objectives for trial in compared])
    best = [compared[i] for i in leaders(accuracy, cost, most // 2)]
    chosen = {t.number for t in _evenly(best, most // 2)}
    chosen |= {t.number for t in trials[-most // 4 :]}
    others = [t for t in trials if t.number not in chosen]
    others.sort(key=lambda t: (len(t.rungs), t.objectives[0], t.number))
    chosen |= {t.number for t in _evenly(others, most - len(chosen))}
    return [t for t in trials if t.number in chosen]


def _evenly(trials: Sequence[Trial], most: int) -> list[Trial]:
    return [trials[i] for i in evenly(len(trials), most)]
