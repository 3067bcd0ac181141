"""What a network may reach after its whole training, learned from cheaper trainings too.

A chain of Gaussian processes, one per kind of training: each has the accuracy after the cheaper
one before it as an input of its own, besides what is known of the network (recursive co-kriging:
Le Gratiet and Garnier 2014; not linear: Perdikaris et al. 2017).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchers.surrogate import GaussianProcess, Warp

Array = NDArray[np.float64]

NODES = np.sqrt(3.0) * np.array([-1.0, 0.0, 1.0])
WEIGHTS = np.array([1.0, 4.0, 1.0]) / 6
"""Of an expectation under a standard normal distribution, exact up to the fifth power."""


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
    """Accuracies after the last kind of training, on a warped scale.

    Args:
        observed: The kinds of training from the cheapest on, each with one network at least.
        groups: The group of each feature, ``(d,)``.
    """

    def __init__(self, observed: Sequence[Observed], groups: NDArray[np.intp]) -> None:
        self._warps = [Warp(kind.accuracy) for kind in observed]
        self._units = [
            _unit(w.forward(k.accuracy)) for w, k in zip(self._warps, observed, strict=True)
        ]
        self._processes: list[GaussianProcess] = []
        for number, kind in enumerate(observed):
            rows, of_rows = kind.rows, groups
            if number:
                cheaper = self._warps[number - 1].forward(kind.cheaper[:, 0])
                rows = self._joined(number, rows, cheaper)
                of_rows = np.append(groups, groups.max() + 1)
            values = self._warps[number].forward(kind.accuracy)
            self._processes.append(GaussianProcess(rows, values, of_rows))

    def _joined(self, number: int, rows: Array, cheaper: Array) -> Array:
        """Features of process ``number``: those of networks, and what a cheaper training shows."""
        return np.column_stack([rows, cheaper / self._units[number - 1]])

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for untrained networks ``(m, d)``; each ``(m,)``."""
        mean, deviation = self._processes[0].predict(rows)
        for number, process in enumerate(self._processes[1:], start=1):
            first, second = np.zeros(len(rows)), np.zeros(len(rows))
            for node, weight in zip(NODES, WEIGHTS, strict=True):
                joined = self._joined(number, rows, mean + node * deviation)
                m, d = process.predict(joined)
                first += weight * m
                second += weight * (m**2 + d**2)
            mean, deviation = first, np.sqrt(np.maximum(second - first**2, 0))
        return mean, deviation

    def believing(self, rows: Array) -> Fidelities:
        """The same, had networks ``(m, d)`` been trained and met what is expected of them."""
        other = copy.copy(self)
        other._processes = []
        mean = np.zeros(len(rows))
        for number, process in enumerate(self._processes):
            joined = self._joined(number, rows, mean) if number else rows
            mean, _ = process.predict(joined)
            other._processes.append(process.with_values(joined, mean))
        return other

    def to_accuracy(self, warped: Array) -> Array:
        """From the scale of the predictions."""
        return self._warps[-1].inverse(warped)


def _unit(warped: Array) -> float:
    """Such that two networks differ by 1, in the root mean square."""
    return float(np.sqrt(2) * warped.std()) or 1.0
