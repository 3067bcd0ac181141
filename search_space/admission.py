"""Networks inside a budget: the cheapest one, and samples where most networks are outside.

A budget appears here as a *price*: a function from a network to a number that is at most 1 for
networks inside (say, its MACs over the limit, or the largest of several such ratios).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search_space.cost import macs as count_macs
from search_space.errors import SpecError
from search_space.proportion import wilson_interval
from search_space.searchable import Searchable
from search_space.space import Choices, SearchSpace
from search_space.spec import NetworkSpec

Price = Callable[[NetworkSpec], float]


def price_of(space: Searchable, choices: Choices, price: Price) -> float:
    """The price of a combination; infinite where it is no network."""
    try:
        return price(space.decode(choices))
    except SpecError:
        return np.inf


def cheapest(
    space: SearchSpace, price: Price, *, restarts: int = 3, rng: np.random.Generator | None = None
) -> Choices:
    """The combination of lowest price that coordinate descent finds.

    Where nothing is limited every network has the price 0, and multiply-adds decide. Starts from
    the lowest ordered choices and from ``restarts`` random combinations; prices of
    such spaces fall or rise along each dimension, so that the starts agree as a rule.

    Raises:
        SpecError: no combination that was tried is a network.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    lowest: Choices = {d.name: d.choices[0] for d in space.dimensions}

    def rank(spec: NetworkSpec) -> float:
        return price(spec) or count_macs(spec)

    found = [_descend(space, c, rank) for c in (lowest, *_samples(space, restarts, rng))]
    best_price, best = min(found, key=lambda pair: pair[0])
    if best_price == np.inf:
        try:
            space.decode(best)
        except SpecError as error:
            raise SpecError(f"the search space {space.name} holds no network: {error}") from None
    return best


def _samples(space: SearchSpace, count: int, rng: np.random.Generator) -> list[Choices]:
    return [space.sample(rng) for _ in range(count)]


def _descend(space: SearchSpace, choices: Choices, price: Price) -> tuple[float, Choices]:
    """Changes one dimension at a time to its cheapest choice until nothing gets cheaper."""
    best, lowest = choices, price_of(space, choices, price)
    improved = True
    while improved:
        improved = False
        for d in space.dimensions:
            for choice in d.choices:
                candidate = best | {d.name: choice}
                value = price_of(space, candidate, price)
                if value < lowest:
                    best, lowest, improved = candidate, value, True
    return lowest, best


def walk(
    space: Searchable,
    start: Choices,
    price: Price,
    rng: np.random.Generator,
    *,
    sweeps: int = 4,
) -> Choices:
    """A random combination inside the budget, reached from one that is inside.

    Each step gives one dimension, in random order, a random choice and keeps it if the network
    stays inside. The uniform distribution over what can be reached is stationary under these
    steps (Metropolis with a symmetric proposal), so that more sweeps come nearer to it.
    """
    current = start
    for _ in range(sweeps):
        for i in rng.permutation(len(space.dimensions)):
            d = space.dimensions[i]
            candidate = current | {d.name: d.choices[rng.integers(len(d.choices))]}
            if candidate != current and price_of(space, candidate, price) <= 1:
                current = candidate
    return current


def pull_inside(
    space: Searchable,
    choices: Choices,
    inside: Choices,
    price: Price,
    rng: np.random.Generator,
) -> Choices:
    """``choices`` with as many dimensions, in random order, taken from ``inside`` as it needs to
    get inside the budget; ``inside`` itself is."""
    current = choices
    for i in rng.permutation(len(space.dimensions)):
        if price_of(space, current, price) <= 1:
            return current
        name = space.dimensions[i].name
        current = current | {name: inside[name]}
    return current


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a budget leaves of a space.

    ``share_inside`` is the fraction of uniformly sampled combinations inside the budget, with a
    95 % interval (Wilson); ``macs_quantiles`` are those of the sampled networks (of
    the cheapest one where no sample was a network) at 0, 5, 25, 50, 75, 95 and 100 %.
    """

    volume: int
    samples: int
    share_inside: float
    share_low: float
    share_high: float
    macs_quantiles: tuple[int, ...]
    cheapest: NetworkSpec
    cheapest_macs: int


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def profile(
    space: SearchSpace,
    price: Price,
    macs: Callable[[NetworkSpec], int],
    *,
    samples: int,
    rng: np.random.Generator,
) -> Profile:
    """Samples a space uniformly and looks for its cheapest network."""
    best = space.decode(cheapest(space, price))
    inside = 0
    counts: list[int] = []
    for choices in _samples(space, samples, rng):
        try:
            spec = space.decode(choices)
        except SpecError:
            continue
        counts.append(macs(spec))
        inside += price(spec) <= 1
    low, high = wilson_interval(inside, samples, 0.95)
    return Profile(
        volume=space.volume,
        samples=samples,
        share_inside=inside / samples,
        share_low=low,
        share_high=high,
        macs_quantiles=tuple(int(q) for q in np.quantile(counts or [macs(best)], QUANTILES)),
        cheapest=best,
        cheapest_macs=macs(best),
    )
