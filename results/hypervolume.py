"""How much of the plane of accuracy and milliseconds a search has come to dominate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from results.pareto import front, hypervolume
from results.trial import Trial, contenders


def hypervolume_course(trials: Sequence[Trial], reference_ms: float) -> list[tuple[int, float]]:
    """After each contender, in the order of their numbers, its number and the hypervolume of all
    so far: the share of the rectangle from accuracy 0 to 1 and from 0 ms to ``reference_ms``."""
    done = sorted(contenders(trials), key=lambda t: t.number)
    points = np.empty((0, 2))
    course: list[tuple[int, float]] = []
    for trial in done:
        points = np.vstack([points, trial.objectives])
        # The front alone is carried on: what it dominates adds nothing later.
        points = points[front(points[:, 0], points[:, 1])]
        area = hypervolume(points[:, 0], points[:, 1], (0.0, reference_ms))
        course.append((trial.number, area / reference_ms))
    return course
