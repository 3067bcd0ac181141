"""What changes in the course of a training, as functions of its progress in [0, 1].

So a training of three epochs runs all stages that one of three hundred does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from trainers.recipe import Recipe


def _cosine(recipe: Recipe, progress: float) -> float:
    """From 1 to 0 (CondenseNet, figure 4)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def _linear(recipe: Recipe, progress: float) -> float:
    return 1 - progress


def _steps(recipe: Recipe, progress: float) -> float:
    """A tenth of it from each milestone on (SparseNet, section 4.1)."""
    return float(0.1 ** sum(progress >= milestone - 1e-9 for milestone in recipe.milestones))


SHAPES: dict[str, Callable[[Recipe, float], float]] = {
    "cosine": _cosine,
    "linear": _linear,
    "steps": _steps,
}
"""How the learning rate falls: its share of the highest."""


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate of the update that begins at ``progress``.

    After warming up, it falls over what is left of the training. With traditional pruning each half
    is a training of its own.
    """
    if recipe.pruning == "traditional":
        progress = 2 * progress - (progress >= 0.5)
    warmup = recipe.warmup_epochs / recipe.epochs
    if progress < warmup:
        share = recipe.warmup_start + (1 - recipe.warmup_start) * progress / warmup
    else:
        share = SHAPES[recipe.schedule](recipe, (progress - warmup) / (1 - warmup))
    return recipe.learning_rate * share


def condensing(recipe: Recipe, progress: float) -> float:
    """The progress that is told to the layers which condense.

    Gradual pruning tells them the training's own: drop j of C - 1 is due at ``j / (2 (C - 1))``
    (CondenseNet, section 3.1). Traditional pruning has all drops due at half time, when the
    unpruned network has converged.
    """
    if recipe.pruning == "gradual":
        return progress
    return 0.0 if progress < 0.5 else 1.0
