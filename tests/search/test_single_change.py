"""The single change that saves the most for what it costs."""

from __future__ import annotations

import dataclasses

import pytest

from latency_models import DEFAULT_DEVICE, device, predict, predict_on
from search.single_change import (
    LEAST_SAVING,
    PricedChange,
    SingleChanges,
    ranked,
    single_changes,
)
from search_space import ZOO, macs
from search_space.neighbours import Neighbour, neighbours

SPEC = ZOO["condensenetv2-110"]


def change(saved_ms: float, lost_macs: int, after: int = 0) -> PricedChange:
    neighbour = Neighbour(stage=1, choice="depth", before=9, after=after, spec=SPEC)
    return PricedChange(neighbour=neighbour, saved_ms=saved_ms, lost_macs=lost_macs)


def test_every_neighbour_is_priced_by_the_predictor_of_the_network() -> None:
    found = single_changes(SPEC, device(DEFAULT_DEVICE))
    assert [c.neighbour for c in found.priced] == list(neighbours(SPEC))
    assert found.ms == predict(SPEC).ms
    for c in found.priced[::10]:
        assert c.saved_ms == pytest.approx(found.ms - predict(c.neighbour.spec).ms)
        assert c.lost_macs == macs(SPEC) - macs(c.neighbour.spec)
    for c in (*found.free, *found.paid):
        assert c.saved_ms >= LEAST_SAVING * found.ms
    assert all(c.lost_macs <= 0 for c in found.free)
    worths = [c.worth or 0.0 for c in found.paid]
    assert worths == sorted(worths, reverse=True)
    assert worths[0] == max(c.saved_ms / (c.lost_macs / 1e6) for c in found.paid)


def test_most_milliseconds_per_lost_multiply_add_and_not_most_milliseconds() -> None:
    much, worth = change(5.0, 10_000_000), change(2.0, 1_000_000)
    assert ranked(10.0, [much, worth]).best == (worth,)
    assert (much.worth, worth.worth) == (0.5, 2.0)


def test_what_costs_nothing_is_better_than_what_costs_little() -> None:
    cheap, free, adding = change(4.0, 1), change(1.0, 0), change(2.0, -500)
    found = ranked(10.0, [cheap, free, adding])
    assert (found.free, found.paid) == ((adding, free), (cheap,))
    assert (found.best, found.best_paid) == ((adding,), (cheap,))
    assert (free.worth, adding.worth) == (None, None)


def test_ties_are_told_together() -> None:
    one, two, third = change(1.0, 1000), change(1.991, 2000, 1), change(1.0, 2000, 2)
    assert ranked(10.0, [third, two, one]).best == (one, two)


def test_savings_too_small_to_be_told_and_losses_are_no_candidates() -> None:
    found = ranked(100.0, [change(0.9, 10), change(-3.0, 10), change(0.0, -10)])
    assert (found.best, found.free, found.paid, len(found.priced)) == ((), (), (), 3)


def test_what_has_no_price_does_not_seem_to_save_time() -> None:
    on, spec = device(DEFAULT_DEVICE), ZOO["sparsenet-bc-100-k16-32-64"]
    weights = {name: ns for name, ns in on.weights.items() if "grouped_conv" not in name}
    blind = dataclasses.replace(on, weights=weights, counted_kinds={})

    def choices(found: SingleChanges) -> set[str]:
        return {c.neighbour.choice for c in found.priced}

    assert choices(single_changes(spec, on)) - choices(single_changes(spec, blind)) == {
        "groups_3x3"
    }


def test_more_work_in_kernels_without_a_price_does_not_seem_to_save_time() -> None:
    spec = ZOO["condensenet-86"]
    first = dataclasses.replace(spec.stages[0], groups_3x3=1)
    spec = spec.replace(stages=(first, *spec.stages[1:]))
    on = device(DEFAULT_DEVICE)
    weights = {name: ns for name, ns in on.weights.items() if "grouped_conv" not in name}
    blind = dataclasses.replace(on, weights=weights, counted_kinds={})
    assert predict_on(spec, blind).unpriced == ("grouped_conv",)
    change = "stage 1: groups_3x3 1 -> 2"
    seen = {str(c.neighbour): c.saved_ms for c in single_changes(spec, on).priced}
    assert seen[change] < 0
    unseen = {str(c.neighbour): c.saved_ms for c in single_changes(spec, blind).priced}
    assert change not in unseen
    left = "stage 2: condense_factor 4 -> 8"
    assert unseen[left] == pytest.approx(seen[left]), "its kernels without a price are the same"


def test_kinds_that_only_the_neighbour_has_are_doubted() -> None:
    found = single_changes(ZOO["condensenet-86"], device(DEFAULT_DEVICE))
    blocks = [c for c in found.free if c.neighbour.choice == "condense_block"]
    assert blocks
    assert all(any(text.startswith("gather") for text in c.doubts) for c in blocks)
    assert not any(c.doubts for c in found.priced if c.neighbour.choice == "depth")
