"""Trials as pandas frames: the public form of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from results.pareto import front
from results.trial import Trial, contenders, rung_values

COLUMNS = (
    "number",
    "state",
    "accuracy",
    "retrained_accuracy",
    "retrained_test_accuracy",
    "loss",
    "macs",
    "params",
    "paper_flops",
    "latency_ms",
    "latency_low_ms",
    "latency_high_ms",
    "epochs",
    "wall_s",
    "architecture",
    "failure",
)
"""The columns of every frame, before those of rungs and one per dimension of the space."""


def trials_frame(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row per trial: ``COLUMNS``, then, where there are rungs, how many of them the trial was
    trained in and the score of each, then the choices under the names of their dimensions."""
    # Every row has the columns of the trial with the most rungs, in this place.
    columns = max((_rungs(trial) for trial in trials), key=len, default={})
    rows = [
        {
            "number": trial.number,
            "state": trial.state,
            **asdict(trial.estimate),
            **(asdict(trial.score) if trial.score else {}),
            **_retrained(trial),
            "architecture": trial.proposal.spec.id,
            "failure": trial.failure,
            **dict.fromkeys(columns),
            **_rungs(trial),
            **trial.proposal.choices,
        }
        for trial in trials
    ]
    frame = pd.DataFrame(rows)
    rest = [name for name in frame.columns if name not in COLUMNS]
    return frame.reindex(columns=[*COLUMNS, *rest])


def _retrained(trial: Trial) -> dict[str, float | None]:
    if trial.retrained is None:
        return {}
    return {
        "retrained_accuracy": trial.retrained.accuracy,
        "retrained_test_accuracy": trial.retrained.test_accuracy,
    }


def _rungs(trial: Trial) -> dict[str, float]:
    """How many rungs a trial was trained in, and the scores of them."""
    found: dict[str, float] = {"rungs": len(trial.rungs)} if trial.rungs else {}
    for number, score in enumerate(trial.rungs, 1):
        found |= rung_values(number, score)
    return found


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """The contenders that no other beats in accuracy and latency, fastest first.

    Of trials with equal objectives the first is kept.
    """
    done = sorted(contenders(trials), key=lambda t: t.number)
    if not done:
        return []
    accuracy, latency_ms = np.transpose([trial.objectives for trial in done])
    return [done[i] for i in front(accuracy, latency_ms)]


def winners(trials: Sequence[Trial], count: int, *, of_front: bool = True) -> list[Trial]:
    """Whom to train in full: the Pareto front, the most accurate first; then, if it is shorter,
    the most accurate of the others, those of higher rungs before those of lower ones. Without
    ``of_front`` the most accurate only."""
    best = pareto_front(trials) if of_front else []
    others = [t for t in trials if t.score is not None and t not in best]
    others.sort(key=lambda t: (-len(t.rungs), -t.objectives[0], t.objectives[1], t.number))
    return [*reversed(best), *others][:count]


def most_accurate(trials: Sequence[Trial]) -> Trial | None:
    """The contender of highest accuracy, the faster of two equal ones."""
    best = pareto_front(trials)
    return best[-1] if best else None
