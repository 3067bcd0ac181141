"""How a detector is trained: the usual schedule of 12 epochs, in shares of the training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from search_space.errors import UserError
from search_space.rules import MOST

EPOCHS, BATCH_SIZE = 12, 16
MILESTONES = (8 / 12, 11 / 12)
"""Where the learning rate becomes a tenth: after 8 and 11 of 12 epochs."""

WARMUP_UPDATES = 500
MOST_WARMUP = 1 / 12
"""The share of a training that warms up at most: an epoch of twelve."""

WARMUP_START = 1e-3
"""The share of the learning rate that warming up begins at."""


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe:
    """SGD with momentum, weight decay on everything.

    Args:
        epochs: Passes over the training images.
        batch_size: Images of one update, over all accumulated shards.
        learning_rate: The highest.
        momentum: Without Nesterov's look ahead, without dampening.
        weight_decay: L2 penalty inside SGD's gradient.

    Raises:
        UserError: a value is out of its range.
    """

    epochs: int = EPOCHS
    batch_size: int = BATCH_SIZE
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2)):
            if not least <= (value := getattr(self, name)) <= MOST:
                raise UserError(f"`{name}` (={value}) must be at least {least}, at most {MOST:,}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UserError(f"`learning_rate` (={self.learning_rate}) must be positive and finite")

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def scaled_rate(rate_of_16: float, batch_size: int) -> float:
    """The learning rate in proportion to the images of an update (Goyal et al., 2017)."""
    return rate_of_16 * batch_size / BATCH_SIZE


def learning_rate(recipe: DetectionRecipe, step: int, steps: int) -> float:
    """The learning rate of update ``step`` of ``steps``, from 0.

    It rises linearly over 500 updates, or over a twelfth of the training where that is less, and
    becomes a tenth at each milestone.
    """
    warmup = min(WARMUP_UPDATES, steps * MOST_WARMUP)
    if step < warmup:
        return recipe.learning_rate * (WARMUP_START + (1 - WARMUP_START) * step / warmup)
    passed = sum(step / steps >= milestone - 1e-9 for milestone in MILESTONES)
    return float(recipe.learning_rate * 0.1**passed)
