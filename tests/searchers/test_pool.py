"""Networks to choose among, and how they look as numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from search_space import NetworkSpec, SearchSpace, macs
from searchers import Admission, pool
from searchers.pool import Features, Priced, changed, drawn, relatives

Admit = Callable[[SearchSpace, float], Admission]
LIMIT = 6e6


def test_a_small_space_is_drawn_whole(
    tiny: SearchSpace,
    admission: Admit,
    networks: Callable[[SearchSpace], dict[str, NetworkSpec]],
) -> None:
    members = drawn(Priced(tiny, admission(tiny, 1e12)), np.random.default_rng(0))
    assert {m.spec.id for m in members} == set(networks(tiny))


def test_a_larger_space_is_sampled_inside_the_budget(wide: SearchSpace, admission: Admit) -> None:
    members = drawn(Priced(wide, admission(wide, LIMIT)), np.random.default_rng(0), 40)
    assert len({m.spec.id for m in members}) == 40
    assert all(m.known.cost == macs(m.spec) <= LIMIT for m in members)
    assert all(wide.decode(m.choices).id == m.spec.id for m in members)


def test_under_a_tight_budget_most_networks_are_not_the_cheapest_with_a_change(
    wide: SearchSpace, admission: Admit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def distances() -> list[int]:
        gate = admission(wide, 1.2e6)
        members = drawn(Priced(wide, gate), np.random.default_rng(0), 400)
        assert all(macs(m.spec) <= 1.2e6 for m in members)
        return [sum(m.choices[k] != v for k, v in gate.inside.items()) for m in members]

    walked = distances()
    monkeypatch.setattr(pool, "MOST_WALKS", 0)
    without = distances()
    assert len(walked) > 1.2 * len(without), "the budget is tight"
    assert np.median(walked) > np.median(without)


def test_pricing_counts_nothing_as_turned_away(wide: SearchSpace, admission: Admit) -> None:
    gate = admission(wide, LIMIT)
    drawn(Priced(wide, gate), np.random.default_rng(0), 40)
    assert not gate.rejected


def test_features_of_a_group_have_one_scale(wide: SearchSpace, admission: Admit) -> None:
    members = drawn(Priced(wide, admission(wide, 1e12)), np.random.default_rng(0), 60)
    features = Features(wide, members)
    rows = features(members)
    variance = np.bincount(features.groups, rows.var(0))
    assert len(variance) == len(wide.dimensions) + 2, "and multiply-adds and parameters"
    assert variance == pytest.approx(0.5)


Scale = Callable[[float], float]


def inputs_scaled(space: SearchSpace, scale: Scale) -> np.ndarray:
    """The two features of an input that is a function of the cost, by rising cost."""
    from searchers import Known

    gate = Admission(
        lambda spec: {},
        space.sample(np.random.default_rng(0)),
        lambda spec: Known(cost=macs(spec), inputs={"score": scale(macs(spec))}),
    )
    members = drawn(Priced(space, gate), np.random.default_rng(0))
    rows = Features(space, members)(members)[:, -2:]
    return rows[np.argsort([m.known.cost for m in members])]


@pytest.mark.parametrize("scale", [lambda count: 1e-9 * count, lambda count: 7 * count])
def test_the_unit_of_an_input_does_not_matter(tiny: SearchSpace, scale: Scale) -> None:
    assert inputs_scaled(tiny, scale) == pytest.approx(inputs_scaled(tiny, float))


def test_outliers_leave_the_quantiles_of_an_input_as_they_are(tiny: SearchSpace) -> None:
    plain = inputs_scaled(tiny, float)
    largest = np.unique(plain[:, 0]).max()
    assert largest > np.median(plain[:, 0])
    far = inputs_scaled(tiny, lambda count: -1e300 if count < 4e5 else count)
    infinite = inputs_scaled(tiny, lambda count: -np.inf if count < 4e5 else count)
    assert np.isfinite(far).all()
    assert np.isfinite(infinite).all()
    assert infinite[:, 0] == pytest.approx(far[:, 0])
    assert np.all(np.diff(infinite, axis=0) >= -1e-12)


def test_the_ends_of_an_input_are_told_apart(tiny: SearchSpace) -> None:
    quantile, value = inputs_scaled(tiny, lambda count: np.exp(count / 1e5)).T
    assert np.diff(value)[-1] > 1.5 * np.diff(quantile)[-1]


def test_relatives_are_combinations_of_the_space(wide: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    parents = [wide.sample(rng) for _ in range(2)]
    children = relatives(wide, parents, 100, rng)
    assert len(children) == 100
    for child in children:
        assert list(child) == [d.name for d in wide.dimensions]
        foreign = [all(child[k] != p[k] for p in parents) for k in child]
        assert sum(foreign) <= 2


def test_what_is_one_choice_away_is_all_there(wide: SearchSpace) -> None:
    choices = wide.sample(np.random.default_rng(0))
    found = list(changed(wide, choices))
    assert len(found) == sum(len(d.choices) - 1 for d in wide.dimensions)
    for other in found:
        assert sum(other[d.name] != choices[d.name] for d in wide.dimensions) == 1
        assert all(other[d.name] in d.choices for d in wide.dimensions)
