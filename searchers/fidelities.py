"""What a network may reach after its whole training, learned from cheaper trainings too.

A sum of Gaussian processes of what is known of networks: the first predicts the accuracy after the
cheapest training, each other what the next kind adds to the accuracy before it (Kennedy and
O'Hagan 2000, with factor 1).

What is added is counted in log-odds, where it is much the same for a bad network as for a good
one. It must not be the accuracy itself: only the best networks of a training go on, so that those
seen in the next are all good, and alike. A process of their accuracies expects as much of every
other network, whatever the cheaper training said of it. Nor is the accuracy before an input: those
that went on were also lucky, which looks as if more were added to networks that had less.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from searchers.surrogate import GaussianProcess, Prior, Warp

Array = NDArray[np.float64]

NODES = np.sqrt(3.0) * np.array([-1.0, 0.0, 1.0])
WEIGHTS = np.array([1.0, 4.0, 1.0]) / 6
"""Of an expectation under a standard normal distribution, exact up to the fifth power."""
PRIOR_CHANCE: Prior = (-0.7, 1.0)
"""Of the noise: that a training adds more to one network than to another is as much chance, in
both trainings, as it is for anything known of them."""
EDGE = 0.001
"""How near to 0 or 1 accuracies are told apart."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Accuracies after one kind of training.

    Args:
        rows: Features of the networks, ``(n, d)``.
        accuracy: ``(n,)``.
        cheaper: Of the same networks after the kind before, ``(n, 1)``; for the first ``(n, 0)``.
    """

    rows: Array
    accuracy: Array
    cheaper: Array


class Fidelities:
    """Accuracies after the last kind of training, on a scale of its own.

    Args:
        observed: The kinds of training from the cheapest on, each with one network at least.
        groups: The group of each feature, ``(d,)``.
    """

    def __init__(self, observed: Sequence[Observed], groups: NDArray[np.intp]) -> None:
        cheapest, *longer = observed
        self._warp = Warp(cheapest.accuracy)
        values = self._warp.forward(cheapest.accuracy)
        self._first = GaussianProcess(cheapest.rows, values, groups)
        self._added = []
        for kind in longer:
            added = log_odds(kind.accuracy) - log_odds(kind.cheaper[:, 0])
            self._added.append(GaussianProcess(kind.rows, added, groups, noise=PRIOR_CHANCE))

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for untrained networks ``(m, d)``; each ``(m,)``."""
        mean, deviation = self._first.predict(rows)
        if not self._added:
            return mean, deviation
        nodes = log_odds(self._warp.inverse(mean + NODES[:, None] * deviation))
        mean = WEIGHTS @ nodes
        variance = WEIGHTS @ (nodes - mean) ** 2
        for process in self._added:
            more, off = process.predict(rows)
            mean, variance = mean + more, variance + off**2
        return mean, np.sqrt(variance)

    def believing(self, rows: Array) -> Fidelities:
        """The same, had networks ``(m, d)`` been trained and met what is expected of them."""
        other = copy.copy(self)
        other._first, *other._added = (
            process.with_values(rows, process.predict(rows)[0])
            for process in (self._first, *self._added)
        )
        return other

    def to_accuracy(self, scaled: Array) -> Array:
        """From the scale of the predictions."""
        accuracy: Array = expit(scaled) if self._added else self._warp.inverse(scaled)
        return accuracy


def log_odds(accuracy: Array) -> Array:
    """Of accuracies in [0, 1]; at most ``EDGE`` from 0 or 1 all are alike."""
    odds: Array = logit(np.clip(accuracy, EDGE, 1 - EDGE))
    return odds
