"""Uniform proposals: the baseline that every other searcher has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from search_space.space import Choices
from searchers.base import Searcher


class RandomSearcher(Searcher):
    """Each combination of choices with equal probability, those outside the budget rejected."""

    def suggest(self, number: int, rng: np.random.Generator) -> tuple[Choices, dict[str, Any]]:
        return self.space.sample(rng), {}
