"""Regularised evolution, for several objectives.

Ageing evolution (Real et al. 2019, "Regularized Evolution for Image Classifier Architecture
Search", arXiv:1802.01548, algorithm 1): the population is the latest trainings, however good older
ones were; the best of a few drawn from it is changed a little and trained next. Where the paper
compares accuracies, networks are compared as in NSGA-II (Deb et al. 2002, "A fast and elitist
multiobjective genetic algorithm: NSGA-II", IEEE TEC 6(2), section III): by how many fronts lie
before theirs, then by how empty their neighbourhood on the front is.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.trial import Trial
from search_space.searchable import Searchable
from search_space.space import Choices
from searchers.base import Admission, Searcher
from searchers.dominance import Losses, front_ranks

POPULATION = 20
CONTESTANTS = 5
"""A fifth of the paper's 100 and 25 (section 3.2), in whose ratio they stay: studies are short."""


class EvolutionSearcher(Searcher):
    """Accuracy up, latency down. The first ``POPULATION`` networks are random; failed trainings
    have no part in it."""

    def __init__(self, space: Searchable, admission: Admission, seed: int) -> None:
        super().__init__(space, admission, seed)
        self._population: deque[Trial] = deque(maxlen=POPULATION)

    def suggest(self, number: int, rng: np.random.Generator) -> tuple[Choices, dict[str, Any]]:
        if len(self._population) < POPULATION:
            return self.space.sample(rng), {}
        parent = self._winner(rng)
        return mutated(self.space, parent.proposal.choices, rng), {"parent": parent.number}

    def _winner(self, rng: np.random.Generator) -> Trial:
        """The best of a few, who may be drawn twice, as in the paper."""
        accuracy, latency_ms = np.transpose([trial.objectives for trial in self._population])
        places = crowded_places(np.stack([-accuracy, latency_ms], axis=1))
        contestants = rng.integers(POPULATION, size=CONTESTANTS)
        return self._population[min(contestants, key=lambda i: places[i])]

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        if trial.score is not None:
            self._population.append(trial)


def mutated(space: Searchable, choices: Choices, rng: np.random.Generator) -> Choices:
    """``choices`` with one or two dimensions, as likely, given another choice."""
    count = min(int(rng.integers(1, 3)), len(space.dimensions))
    changed = dict(choices)
    for i in rng.choice(len(space.dimensions), count, replace=False):
        d = space.dimensions[i]
        others = [choice for choice in d.choices if choice != choices[d.name]]
        changed[d.name] = others[rng.integers(len(others))]
    return changed


def crowded_places(losses: Losses) -> NDArray[np.intp]:
    """The place of each of ``(N, objectives)`` networks in NSGA-II's order, 0 for the best; among
    equals the first comes first."""
    ranks = front_ranks(losses)
    crowding = np.empty(len(losses))
    for rank in range(ranks.max(initial=-1) + 1):
        crowding[ranks == rank] = crowding_distances(losses[ranks == rank])
    places = np.empty(len(losses), dtype=np.intp)
    places[np.lexsort((-crowding, ranks))] = np.arange(len(losses))
    return places


def crowding_distances(losses: Losses) -> Losses:
    """How far apart the neighbours of each network of a front ``(N, objectives)`` are, summed over
    objectives scaled to the front's extent; infinite at its ends."""
    distances = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        ascending = column[order]
        extent = ascending[-1] - ascending[0]
        if extent > 0:
            distances[order[1:-1]] += (ascending[2:] - ascending[:-2]) / extent
            distances[order[[0, -1]]] = np.inf
    return distances
