"""Networks inside a budget, held against the enumeration of tiny spaces."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from search_space import NetworkSpec, SearchSpace, SpecError, cost, macs
from search_space.admission import (
    QUANTILES,
    Price,
    cheapest,
    price_of,
    profile,
    pull_inside,
    walk,
)
from search_space.space import Choices

# With growth 4 the stem has 8 channels: too few to condense 16 to 1.
TINY = SearchSpace(
    name="tiny",
    image_size=8,
    classes=4,
    stem_strides=(1,),
    depths=((2, 1, 3), (1, 2)),
    growth_rates=((8, 4), (8, 4)),
    groups=(2,),
    condense_factors=(1, 16, 4),
    sparse_factors=(1,),
    sfr=("none",),
    fetches=("dense", "exponential-2"),
    transitions=("pool", "conv-0.5"),
    blocks=(1,),
)
# All combinations are networks, each a different one.
FLAT = SearchSpace(
    name="flat",
    image_size=8,
    classes=4,
    stem_strides=(1,),
    depths=((1, 2, 3, 4),),
    growth_rates=((4, 8, 12),),
    groups=(1,),
    condense_factors=(1, 2),
    sparse_factors=(1,),
    sfr=("none",),
    fetches=("dense",),
    transitions=("pool",),
    blocks=(1,),
)


def combinations(space: SearchSpace) -> Iterator[Choices]:
    names = [d.name for d in space.dimensions]
    for values in itertools.product(*(d.choices for d in space.dimensions)):
        yield dict(zip(names, values, strict=True))


def prices(space: SearchSpace, price: Price) -> list[float]:
    return [price_of(space, choices, price) for choices in combinations(space)]


def under(limit: int) -> Price:
    return lambda spec: macs(spec) / limit


def half(space: SearchSpace) -> Price:
    """The MACs budget that half of the combinations keep."""
    return under(int(np.median(prices(space, macs))))


PRICES: dict[str, Price] = {
    "macs": macs,
    "params": lambda spec: cost(spec).params,
    "memory": lambda spec: cost(spec).peak_activation_mb,
    "largest ratio": lambda spec: max(macs(spec) / 300_000, cost(spec).params / 2_000),
}


# --- Prices -----------------------------------------------------------------------------------


def test_what_is_no_network_has_no_price() -> None:
    none = {"stage1_depth": 1, "stage1_growth_rate": 4, "stage1_condense_factor": 16}
    other = next(combinations(TINY))
    assert price_of(TINY, other | none, macs) == np.inf
    assert price_of(TINY, other, macs) == macs(TINY.decode(other))
    assert 0 < prices(TINY, macs).count(np.inf) < TINY.volume


# --- The cheapest -----------------------------------------------------------------------------


@pytest.mark.parametrize("price", PRICES.values(), ids=PRICES.keys())
@pytest.mark.parametrize("space", [TINY, FLAT], ids=lambda s: s.name)
def test_the_cheapest_is_that_of_the_enumeration(space: SearchSpace, price: Price) -> None:
    assert price_of(space, cheapest(space, price), price) == min(prices(space, price))


def test_the_cheapest_follows_the_generator() -> None:
    found = [cheapest(TINY, macs, rng=np.random.default_rng(seed)) for seed in (5, 5)]
    assert found[0] == found[1]
    assert cheapest(TINY, macs) == cheapest(TINY, macs)


def test_a_space_without_networks_is_told_so() -> None:
    empty = FLAT.replace(name="empty", condense_factors=(100,))
    with pytest.raises(SpecError, match="the search space empty holds no network: "):
        cheapest(empty, macs)


# --- Walks ------------------------------------------------------------------------------------


def test_a_walk_stays_inside_and_moves() -> None:
    price = half(TINY)
    start = cheapest(TINY, price)
    rng = np.random.default_rng(0)
    found = [walk(TINY, start, price, rng) for _ in range(60)]
    assert all(price_of(TINY, choices, price) <= 1 for choices in found)
    assert len({TINY.decode(choices).id for choices in found}) > 30


def test_a_walk_visits_all_that_is_inside_alike() -> None:
    price = half(FLAT)
    inside = [c for c in combinations(FLAT) if price_of(FLAT, c, price) <= 1]
    assert len(inside) == FLAT.volume / 2
    rng = np.random.default_rng(0)
    start = cheapest(FLAT, price)
    ids = [FLAT.decode(walk(FLAT, start, price, rng, sweeps=8)).id for _ in range(1200)]
    expected = len(ids) / len(inside)
    for choices in inside:
        assert ids.count(FLAT.decode(choices).id) == pytest.approx(expected, rel=0.35)


def test_a_walk_without_sweeps_stays_where_it_is() -> None:
    start = cheapest(FLAT, macs)
    assert walk(FLAT, start, half(FLAT), np.random.default_rng(0), sweeps=0) == start


def test_a_walk_follows_the_generator() -> None:
    price = half(TINY)
    start = cheapest(TINY, price)
    one, same, other = (walk(TINY, start, price, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one == same
    assert one != other


# --- Pulling ----------------------------------------------------------------------------------


def test_every_combination_is_pulled_inside_by_what_it_takes_from_one_inside() -> None:
    price = half(TINY)
    inside = cheapest(TINY, price)
    rng = np.random.default_rng(0)
    kept = 0
    for choices in combinations(TINY):
        pulled = pull_inside(TINY, choices, inside, price, rng)
        assert price_of(TINY, pulled, price) <= 1
        assert all(pulled[name] in (choices[name], inside[name]) for name in choices)
        if price_of(TINY, choices, price) <= 1:
            assert pulled == choices
        kept += pulled != inside
    assert kept > TINY.volume / 2


def test_pulling_may_take_everything() -> None:
    inside = cheapest(TINY, macs)
    only = under(macs(TINY.decode(inside)))
    rng = np.random.default_rng(0)
    for choices in itertools.islice(combinations(TINY), 0, None, 17):
        pulled = pull_inside(TINY, choices, inside, only, rng)
        assert macs(TINY.decode(pulled)) == macs(TINY.decode(inside))


def test_pulling_follows_the_generator() -> None:
    price = half(TINY)
    inside = cheapest(TINY, price)
    dear = max(
        (c for c in combinations(TINY) if price_of(TINY, c, macs) < np.inf),
        key=lambda c: price_of(TINY, c, macs),
    )
    found = [
        pull_inside(TINY, dear, inside, price, np.random.default_rng(seed))
        for seed in (*range(20), *range(20))
    ]
    assert found[:20] == found[20:]
    assert len({TINY.decode(choices).id for choices in found}) > 1


# --- Profiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
@pytest.mark.parametrize("space", [TINY, FLAT], ids=lambda s: s.name)
def test_a_profile_agrees_with_the_enumeration(space: SearchSpace, share: float) -> None:
    counts = prices(space, macs)
    limit = int(np.quantile(counts, share, method="lower"))
    inside = sum(count <= limit for count in counts) / len(counts)
    found = profile(space, under(limit), macs, samples=400, rng=np.random.default_rng(0))
    assert found.share_low <= inside <= found.share_high
    assert found.share_low < found.share_inside < found.share_high
    assert found.share_high - found.share_low < 0.11
    assert (found.volume, found.samples) == (space.volume, 400)
    networks = [int(count) for count in counts if count < np.inf]
    assert found.cheapest_macs == macs(found.cheapest) == min(networks)
    assert len(found.macs_quantiles) == len(QUANTILES)
    assert list(found.macs_quantiles) == sorted(found.macs_quantiles)
    assert min(networks) <= found.macs_quantiles[0]
    assert found.macs_quantiles[-1] <= max(networks)
    assert found.macs_quantiles[3] == pytest.approx(np.median(networks), rel=0.15)


def test_a_profile_follows_the_generator() -> None:
    one, same, other = (
        profile(FLAT, half(FLAT), macs, samples=50, rng=np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert one == same
    assert one.macs_quantiles != other.macs_quantiles


def everything(spec: NetworkSpec) -> float:
    return 0.5


def nothing(spec: NetworkSpec) -> float:
    return 1.5


@pytest.mark.parametrize(
    ("price", "share", "low", "high"),
    [
        # Wilson: all of n leaves n / (n + 1.96^2) to 1.
        (everything, 1.0, 100 / (100 + 1.959964**2), 1.0),
        (nothing, 0.0, 0.0, 1.959964**2 / (100 + 1.959964**2)),
    ],
)
def test_an_interval_is_no_point_at_the_ends(
    price: Price, share: float, low: float, high: float
) -> None:
    found = profile(FLAT, price, macs, samples=100, rng=np.random.default_rng(0))
    assert found.share_inside == share
    assert found.share_low == pytest.approx(low)
    assert found.share_high == pytest.approx(high)
