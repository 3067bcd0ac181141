"""What the rungs of a study tell: how many trials each scored, and how far their orders agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.correlation import kendall, spearman
from results.trial import Trial

LEAST_PAIRS = 3
"""Of fewer the rank correlation is no more than a coincidence: of two it is always 1 or -1."""

RUNG_HEADER = ("rung", "training", "scored", "went on", "best accuracy", "seconds")


@dataclass(frozen=True, kw_only=True)
class RungCount:
    """What became of the trials of one rung.

    Args:
        rung: Its number, from 1.
        scored: Trials that were trained in it.
        went_on: Those of them that were scored in the next, too.
        best_accuracy: The highest in it, a fraction.
        wall_s: Seconds of all its trainings.
    """

    rung: int
    scored: int
    went_on: int
    best_accuracy: float
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """How far a rung and the next order the same trials alike, from -1 to 1.

    Args:
        lower: Number of the cheaper rung; the other one is the next.
        trials: Scored in both; only the better ones of the lower rung are, as a rule, which makes
            the correlation smaller than over all.
        spearman, kendall: Of their accuracies (Kendall's tau-b); None where there are fewer than
            ``LEAST_PAIRS`` trials or all accuracies of a rung are equal.
    """

    lower: int
    trials: int
    spearman: float | None
    kendall: float | None


def count_rungs(trials: Sequence[Trial]) -> list[RungCount]:
    """One count per rung that a trial has been scored in; none for a study without rungs."""
    found = []
    for number in range(1, _highest(trials) + 1):
        scored = [t for t in trials if len(t.rungs) >= number]
        scores = [t.rungs[number - 1] for t in scored]
        found.append(
            RungCount(
                rung=number,
                scored=len(scored),
                went_on=sum(len(t.rungs) > number for t in scored),
                best_accuracy=max(score.accuracy for score in scores),
                wall_s=sum(score.wall_s for score in scores),
            )
        )
    return found


def rung_rows(
    counts: Sequence[RungCount], trainings: Sequence[str]
) -> list[tuple[str, str, str, str, str, str]]:
    """What people read, under ``RUNG_HEADER``: of the last rung nobody can go on.

    Args:
        counts: Of :func:`count_rungs`.
        trainings: Those of all rungs in words; the last ones may have scored nothing yet.
    """
    return [
        (
            str(c.rung),
            training,
            str(c.scored),
            str(c.went_on) if c.rung < len(trainings) else "",
            f"{c.best_accuracy:.1%}",
            f"{c.wall_s:,.1f}",
        )
        for c, training in zip(counts, trainings, strict=False)
    ]


def correlate_rungs(trials: Sequence[Trial]) -> list[RankCorrelation]:
    """One for each rung that has a next one in which a trial has been scored."""
    found = []
    for lower in range(1, _highest(trials)):
        both = [t.rungs for t in trials if len(t.rungs) > lower]
        pairs = [(rungs[lower - 1].accuracy, rungs[lower].accuracy) for rungs in both]
        spearman, kendall = _correlations(pairs)
        found.append(
            RankCorrelation(lower=lower, trials=len(pairs), spearman=spearman, kendall=kendall)
        )
    return found


def _highest(trials: Sequence[Trial]) -> int:
    return max((len(t.rungs) for t in trials), default=0)


def _correlations(
    pairs: Sequence[tuple[float, float]],
) -> tuple[float, float] | tuple[None, None]:
    before, after = np.array(pairs, dtype=np.float64).T
    found = float(spearman(before, after)), float(kendall(before, after))
    if len(pairs) < LEAST_PAIRS or np.isnan(found).any():
        return None, None
    return found
