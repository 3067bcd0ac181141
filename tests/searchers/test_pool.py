"""Networks to choose among, and how they look as numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from search_space import NetworkSpec, SearchSpace, macs
from searchers import Admission
from searchers.pool import Features, Priced, drawn, relatives

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


def test_inputs_count_by_their_order_alone(tiny: SearchSpace) -> None:
    from searchers import Known

    def gate(scale: Callable[[float], float]) -> Admission:
        return Admission(
            lambda spec: {},
            tiny.sample(np.random.default_rng(0)),
            lambda spec: Known(cost=macs(spec), inputs={"score": scale(macs(spec))}),
        )

    rows = []
    for scale in (float, np.log, lambda count: -np.inf if count < 4e5 else count):
        members = drawn(Priced(tiny, gate(scale)), np.random.default_rng(0))
        rows.append(Features(tiny, members)(members)[:, -1])
    assert rows[1] == pytest.approx(rows[0])
    assert np.isfinite(rows[2]).all()


def test_relatives_are_combinations_of_the_space(wide: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    parents = [wide.sample(rng) for _ in range(2)]
    children = relatives(wide, parents, 100, rng)
    assert len(children) == 100
    for child in children:
        assert list(child) == [d.name for d in wide.dimensions]
        foreign = [all(child[k] != p[k] for p in parents) for k in child]
        assert sum(foreign) <= 2
