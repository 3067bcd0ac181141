"""NNI's tuners as searchers, without NNI's experiments, services or files.

A tuner of NNI minimises one number, so two objectives are made one by ParEGO's augmented
Chebyshev function (Knowles 2006, "ParEGO: a hybrid algorithm with on-line landscape approximation
for expensive multiobjective optimization problems", IEEE TEC 10(1), eq. 2), with a weight that is
drawn anew for each suggestion. A fixed weight would look for one point of the front and need a
latency to compare with; over all weights every point of the front is the best of some, also where
the front is not convex.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from results.trial import Trial
from search_space.optional import import_optional
from search_space.searchable import Searchable
from search_space.space import Choices
from searchers.base import Admission, Searcher

RHO = 0.05
"""The share of the sum in ParEGO's function: among equal maxima the sum decides."""
POPULATION = 20
"""Of the evolution. Smaller than NNI's 32, as that of our other evolutions: studies are short."""


def scalarised(trials: Sequence[Trial], weight: float) -> list[float]:
    """One loss per complete trial: with a = how far its accuracy is below the best and l = its
    latency, both scaled to [0, 1] over ``trials``, max(w a, (1 - w) l) + 0.05 (w a + (1 - w) l)
    for the weight w in [0, 1]."""
    if not trials:
        return []
    losses = np.array([(-t.objectives[0], t.objectives[1]) for t in trials])
    losses -= losses.min(axis=0)
    extent = losses.max(axis=0)
    weighted = losses / np.where(extent > 0, extent, 1) * (weight, 1 - weight)
    result: list[float] = (weighted.max(axis=1) + RHO * weighted.sum(axis=1)).tolist()
    return result


def _import_tuner(name: str) -> Any:
    """A module of tuners; NNI would print whatever it does to the terminal."""
    import_optional("nni", extra="nni").silence_stdout()
    logging.getLogger("nni").setLevel(logging.WARNING)
    return import_optional(f"nni.algorithms.hpo.{name}", extra="nni")


class _AsSuggested:
    """In place of NNI's ``Deduplicator``: the gate before training turns repetitions away, and the
    tuner is asked again; NNI's would list the space from its first corner on."""

    def __call__(self, parameters: dict[Any, Any]) -> dict[Any, Any]:
        return parameters

    def add_history(self, parameters: dict[Any, Any]) -> None:
        """Nothing to remember."""


class TpeSearcher(Searcher):
    """NNI's ``TpeTuner`` with its defaults: 20 random networks, then a tree of Parzen estimators
    with each dimension on its own.

    A tuner is made for each number and given the trials with their losses for its weight; what
    the gate turns away is reported to it as bad as the worst of them.
    Ordered dimensions are intervals of length 1 per choice, so that neighbours are alike.
    """

    def __init__(self, space: Searchable, admission: Admission, seed: int) -> None:
        super().__init__(space, admission, seed)
        self._library = _import_tuner("tpe_tuner")
        self._told: list[tuple[Trial, dict[str, float]]] = []
        self._number = -1
        self._nni_space = {
            d.name: {"_type": "uniform", "_value": [0, len(d.choices)]}
            if d.ordered
            else {"_type": "choice", "_value": list(range(len(d.choices)))}
            for d in space.dimensions
        }

    def suggest(self, number: int, rng: np.random.Generator) -> tuple[Choices, dict[str, Any]]:
        if number != self._number:
            self._tuner, self._worst = self._informed(rng)
            self._number = number
        found = self._tuner.generate_parameters(number)
        # Asked for the same number again, the tuner has seen that this network was no good;
        # from the same losses it would suggest the same again, where choices are few.
        self._tuner.receive_trial_result(number, found, self._worst)
        return {
            d.name: d.choices[min(int(found[d.name]), len(d.choices) - 1)]
            for d in self.space.dimensions
        }, {}

    def _informed(self, rng: np.random.Generator) -> tuple[Any, float]:
        """A tuner that knows the trials by their losses for one weight, and the highest loss."""
        tuner = self._library.TpeTuner("minimize", seed=int(rng.integers(2**31)))
        tuner.update_search_space(self._nni_space)
        tuner.dedup = _AsSuggested()
        losses = scalarised([trial for trial, _ in self._told], rng.random())
        tuner.import_data(
            [
                {"parameter": parameters, "value": loss}
                for (_, parameters), loss in zip(self._told, losses, strict=True)
            ]
        )
        return tuner, max(losses, default=0.0)

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._number = -1  # the tuner knows less than is known now
        if trial.score is not None:
            choices = trial.proposal.choices
            parameters = {
                d.name: d.choices.index(choices[d.name]) + (0.5 if d.ordered else 0)
                for d in self.space.dimensions
            }
            self._told.append((trial, parameters))


class EvolutionSearcher(Searcher):
    """NNI's ``EvolutionTuner``: of two networks of the population the worse is dropped, and the
    better one is changed in one dimension (Real et al. 2017, "Large-Scale Evolution of Image
    Classifiers", arXiv:1703.01041).

    A suggestion outside the budget leaves no trace. The seed of the one that passed stands in its
    trial's notes, and when the trial is told the network that it replaces is dropped by the same
    step. Until the population is full, and whenever failures have made it smaller, networks are
    random: those that the tuner draws at its start and after each failure.
    """

    def __init__(self, space: Searchable, admission: Admission, seed: int) -> None:
        super().__init__(space, admission, seed)
        self._library = _import_tuner("evolution_tuner")
        self._population: list[Trial] = []
        self._nni_space = {
            d.name: {"_type": "choice", "_value": list(range(len(d.choices)))}
            for d in space.dimensions
        }

    def suggest(self, number: int, rng: np.random.Generator) -> tuple[Choices, dict[str, Any]]:
        if len(self._population) < POPULATION:
            return self.space.sample(rng), {}
        step_seed = int(rng.integers(2**31))
        choices, _ = self._step(step_seed)
        return choices, {"step_seed": step_seed}

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        # Failures of networks trained side by side may have left nobody to drop.
        if self._population and "step_seed" in trial.proposal.notes:
            _, self._population = self._step(trial.proposal.notes["step_seed"])
        if trial.score is not None:
            self._population.append(trial)

    def _step(self, seed: int) -> tuple[Choices, list[Trial]]:
        """What NNI makes of the population: the next network's choices, and who is left."""
        rng = np.random.default_rng(seed)
        losses = scalarised(self._population, rng.random())
        tuner = self._library.EvolutionTuner("maximize", population_size=1)
        tuner.update_search_space(self._nni_space)
        tuner.population = [
            self._library.Individual(self._config(trial), info=trial.number, result=-loss)
            for trial, loss in zip(self._population, losses, strict=True)
        ]
        tuner.random_state = np.random.RandomState(int(rng.integers(2**31)))
        with _seeded_random(int(rng.integers(2**31))):
            found = tuner.generate_parameters(0)
        left = {individual.info for individual in tuner.population}
        return (
            {d.name: d.choices[found[d.name]] for d in self.space.dimensions},
            [trial for trial in self._population if trial.number in left],
        )

    def _config(self, trial: Trial) -> dict[str, dict[str, int]]:
        """A trial's choices as NNI keeps them, with their positions."""
        choices = trial.proposal.choices
        positions = {d.name: d.choices.index(choices[d.name]) for d in self.space.dimensions}
        return {name: {"_index": i, "_value": i} for name, i in positions.items()}


@contextlib.contextmanager
def _seeded_random(seed: int) -> Iterator[None]:
    """Seeds Python's global generator, from which NNI's evolution draws pairs and dimensions, and
    leaves it as it was."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
