"""Which choices of a space decide the accuracy and the milliseconds of the networks scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from results.making import METRICS
from results.pareto import evenly
from results.trial import Trial, contenders
from search_space.space import Choices, Dimension

EVALUATOR = "fANOVA"
TREES = 8
"""Of Optuna's 64, for the time that the shuffles take."""
SHUFFLES = 19
"""The largest share of twenty such objectives, all without any effect, is that of the networks
themselves once in twenty times."""
LEAST_NETWORKS = 10
"""Of fewer networks a forest learns nothing that another draw of them would bear out."""
MOST_NETWORKS = 100
"""Of more, so many are taken, evenly spread: that takes seconds, not minutes."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Shares of an objective's variance, over the space, that single dimensions explain alone.

    Args:
        objective: ``accuracy`` or ``latency_ms``.
        networks: How many the forest was fitted to.
        shares: By the dimension's name, the largest first; what they lack to 1 is decided by
            dimensions together.
        chance: The largest share that any dimension had in ``SHUFFLES`` shuffles of the objective
            among the networks: smaller shares say nothing.
    """

    objective: str
    networks: int
    shares: dict[str, float]
    chance: float


def importances(trials: Sequence[Trial], dimensions: Sequence[Dimension]) -> list[Importance]:
    """One per objective over the contenders; none where they are too few, and none of an objective
    that does not vary.

    Source: Hutter, Hoos and Leyton-Brown 2014, An efficient approach for assessing hyperparameter
    importance.
    """
    done = [t for t in contenders(trials) if _fits(t.proposal.choices, dimensions)]
    done = [done[i] for i in evenly(len(done), MOST_NETWORKS)]
    if len(done) < LEAST_NETWORKS or not dimensions:
        return []
    study = _study(done, dimensions)
    return [
        _importance(study, name, [t.objectives[i] for t in done])
        for i, name in enumerate(METRICS)
        if len({t.objectives[i] for t in done}) > 1
    ]


def _importance(study: optuna.Study, name: str, values: Sequence[float]) -> Importance:
    rng = np.random.default_rng(0)
    shuffled = [_shares(study, rng.permutation(values).tolist()) for _ in range(SHUFFLES)]
    return Importance(
        objective=name,
        networks=len(values),
        shares=_shares(study, values),
        chance=max(share for shares in shuffled for share in shares.values()),
    )


def _fits(choices: Choices, dimensions: Sequence[Dimension]) -> bool:
    """Whether the choices are some of the space's: its file may have been edited by hand."""
    return all(choices.get(d.name) in d.choices for d in dimensions)


def _study(trials: Sequence[Trial], dimensions: Sequence[Dimension]) -> optuna.Study:
    """The networks' choices; ordered ones are numbers to the forest, which the run's own study
    keeps as names."""
    study = optuna.create_study()
    distributions: dict[str, BaseDistribution] = {
        d.name: IntDistribution(0, len(d.choices) - 1)
        if d.ordered
        else CategoricalDistribution(d.choices)
        for d in dimensions
    }
    for trial in trials:
        choices = trial.proposal.choices
        params = {
            d.name: d.choices.index(choices[d.name]) if d.ordered else choices[d.name]
            for d in dimensions
        }
        study.add_trial(create_trial(params=params, distributions=distributions, value=0.0))
    return study


def _shares(study: optuna.Study, values: Sequence[float]) -> dict[str, float]:
    """Not divided by their sum, as ``get_param_importances`` would: where choices act together, or
    by no rule at all, single ones explain little."""
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)

    def target(trial: FrozenTrial) -> float:
        return values[trial.number]

    try:
        found = evaluator.evaluate(study, target=target)
    except RuntimeError as error:
        # No tree was grown from networks that differ, as where all but one or two are equal; Optuna
        # has no class of its own for this.
        if "zero total variance" not in str(error):
            raise
        return dict.fromkeys(study.trials[0].params, 0.0)
    return {name: float(share) for name, share in found.items()}
