"""Optuna's samplers as searchers.

A sampler only ever sees a study in memory, which mirrors the trials that were told: a proposal
outside the budget must leave no trace in the store, and ``Study.ask`` would write it there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from results.trial import Trial
from search_space.searchable import Searchable
from search_space.space import Choices, Dimension
from searchers.base import Admission, Searcher


class _Nsga2(NSGAIISampler):
    """NSGA-II whose parents always come in the order of their trials.

    Optuna's come in the order of selection when they are chosen and in that of trials when they
    are looked up again, so that a resumed search would go on otherwise.
    """

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        parents = super().get_parent_population(study, generation)
        return sorted(parents, key=lambda trial: trial.number)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True),
    "nsga2": lambda seed: _Nsga2(seed=seed, population_size=20),
    "gp": lambda seed: GPSampler(seed=seed),
}
"""By name, from a seed. The population is smaller than Optuna's 50: studies here are short."""
GP_TRIES = 3
"""A Gaussian process is fitted anew for each suggestion: seconds, in forty dimensions."""


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Ordered choices by their position, so that samplers know which are neighbours."""
    if dimension.ordered:
        return IntDistribution(0, len(dimension.choices) - 1)
    return CategoricalDistribution(dimension.choices)


class OptunaSearcher(Searcher):
    """One of ``SAMPLERS``: accuracy up, latency down."""

    def __init__(self, space: Searchable, admission: Admission, seed: int, *, sampler: str) -> None:
        super().__init__(space, admission, seed)
        self._make_sampler = SAMPLERS[sampler]
        self._distributions = {d.name: _distribution(d) for d in space.dimensions}
        self._mirror = optuna.create_study(directions=["maximize", "minimize"])
        self._seeded_for: int | None = None
        if sampler == "gp":
            self.tries = GP_TRIES

    def suggest(self, number: int, rng: np.random.Generator) -> tuple[Choices, dict[str, Any]]:
        if self._seeded_for != number:
            self._mirror.sampler = self._make_sampler(int(rng.integers(2**31)))
            self._seeded_for = number
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._mirror.ask(self._distributions)
        frozen = self._mirror.tell(trial, state=TrialState.FAIL)
        # Genetic samplers mark a trial with its generation and look for the mark later.
        marks = {k: v for k, v in frozen.system_attrs.items() if k.endswith(":generation")}
        return self._choices(trial.params), {"marks": marks}

    def _choices(self, params: dict[str, Any]) -> Choices:
        return {
            d.name: d.choices[params[d.name]] if d.ordered else params[d.name]
            for d in self.space.dimensions
        }

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        if trial.score is not None:
            self._mirror.add_trial(self._mirrored(trial))

    def _mirrored(self, trial: Trial) -> FrozenTrial:
        choices = trial.proposal.choices
        return optuna.trial.create_trial(
            params={
                d.name: d.choices.index(choices[d.name]) if d.ordered else choices[d.name]
                for d in self.space.dimensions
            },
            distributions=self._distributions,
            values=trial.objectives,
            system_attrs=trial.proposal.notes.get("marks", {}),
        )
