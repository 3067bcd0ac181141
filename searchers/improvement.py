"""How much a training may add to a front of accuracy and cost, where the cost is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from results.pareto import Array, front

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
"""Of the expectation under a standard normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The best accuracy at each cost, up to a largest one.

    Args:
        levels: Accuracies, rising, the first that of the reference point; ``(s,)``.
        costs: Where each step begins, the first at minus infinity; ``(s,)``.
        limit: Where the last one ends.
    """

    levels: Array
    costs: Array
    limit: float

    @classmethod
    def of(cls, accuracy: Array, cost: Array, reference: tuple[float, float]) -> Steps:
        """The steps of trained networks above and left of a reference point."""
        least, limit = reference
        on = front(accuracy, cost)
        on = on[(accuracy[on] > least) & (cost[on] < limit)]
        return cls(
            levels=np.concatenate([[least], accuracy[on]]),
            costs=np.concatenate([[-np.inf], cost[on]]),
            limit=limit,
        )

    def expected_improvement(
        self, mean: Array, deviation: Array, cost: Array, to_accuracy: Callable[[Array], Array]
    ) -> Array:
        """The expected gain in hypervolume from each of some networks, ``(m,)``.

        A network of cost c and accuracy a adds the area under a and above the steps, from c to
        the limit. With the cost known that is a function of one unknown, whose expectation takes
        one integral (Gauss-Hermite) where Emmerich et al. 2011 need one per cell of a grid.

        Args:
            mean: Of a normal distribution per network, ``(m,)``.
            deviation: Likewise.
            cost: Of each network, ``(m,)``.
            to_accuracy: From the normal distribution's scale.
        """
        total = np.zeros(len(cost))
        # Most of many networks are out of reach of the steps, even at the farthest node.
        reached = self.levels[np.searchsorted(self.costs, cost, "right") - 1]
        hopeful = (to_accuracy(mean + NODES[-1] * deviation) > reached) & (cost < self.limit)
        mean, deviation, cost = mean[hopeful], deviation[hopeful], cost[hopeful]
        ends = np.concatenate([self.costs[1:], [self.limit]])
        widths = np.maximum(ends - np.maximum(cost[:, None], self.costs), 0)
        for node, weight in zip(NODES, WEIGHTS / WEIGHTS.sum(), strict=True):
            heights = np.maximum(to_accuracy(mean + node * deviation)[:, None] - self.levels, 0)
            total[hopeful] += weight * (widths * heights).sum(1)
        return total
