"""The best trials of a study, by what a person may mean by that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from results.tables import pareto_front
from results.trial import Trial, contenders
from search_space.budget import counted
from search_space.errors import UnknownName, UserError

LEAST_FOR_A_KNEE = 3


def best_trials(trials: Sequence[Trial], by: str, n: int) -> list[Trial]:
    """The best contenders (:func:`results.trial.contenders`), the best first.

    Args:
        trials: Of a study, in any state.
        by: A key of ``BY``.
        n: How many, at least 1; fewer come back where there are fewer.

    Raises:
        UserError: ``by`` or ``n`` break these rules, or the front is too small for a knee.
    """
    if by not in BY:
        raise UnknownName("order", by, BY)
    if n < 1:
        raise UserError(f"`n` (={n}) must be at least 1")
    return BY[by](trials)[:n]


def by_accuracy(trials: Sequence[Trial]) -> list[Trial]:
    """The most accurate first, the faster of two alike."""
    return sorted(contenders(trials), key=lambda t: (-t.objectives[0], t.objectives[1], t.number))


def by_latency(trials: Sequence[Trial]) -> list[Trial]:
    """The fastest first, the more accurate of two alike."""
    return sorted(contenders(trials), key=lambda t: (t.objectives[1], -t.objectives[0], t.number))


def by_knee(trials: Sequence[Trial]) -> list[Trial]:
    """The Pareto front, the knee first: the point farthest above the line between its ends.

    Both objectives are scaled to [0, 1] between the ends, so that no unit matters; then the
    distance from the line from (0, 0) to (1, 1) is in proportion to accuracy minus latency. The
    ends have distance 0, points below the line a negative one.

    Source: Das 1999, On characterizing the "knee" of the Pareto curve.

    Raises:
        UserError: the front has fewer than ``LEAST_FOR_A_KNEE`` points, which all are its ends.
    """
    front = pareto_front(trials)
    if len(front) < LEAST_FOR_A_KNEE:
        raise UserError(
            f"the Pareto front has {counted(len(front), 'network')}, a knee needs at least"
            f" {LEAST_FOR_A_KNEE}: ask for the best by accuracy or latency, or resume the search"
            " with more trials"
        )
    (low, fastest), (high, slowest) = front[0].objectives, front[-1].objectives

    def above_the_line(trial: Trial) -> float:
        accuracy, latency_ms = trial.objectives
        return (accuracy - low) / (high - low) - (latency_ms - fastest) / (slowest - fastest)

    return sorted(front, key=above_the_line, reverse=True)


BY: dict[str, Callable[[Sequence[Trial]], list[Trial]]] = {
    "accuracy": by_accuracy,
    "latency": by_latency,
    "knee": by_knee,
}
