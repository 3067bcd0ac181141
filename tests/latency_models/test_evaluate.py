"""Errors of predictions, counted by hand."""

from __future__ import annotations

import dataclasses

import pytest

from latency_models import device, predict
from latency_models.evaluate import Judged, evaluation, judge
from latency_models.executed import executed_kernels
from latency_models.kernels import Kernel
from latency_models.predict import DEFAULT_DEVICE, breakdown_ms, kernel_ms, predict_kernels
from search_space import ZOO
from search_space.errors import UserError

ON = device(DEFAULT_DEVICE)
KERNELS = {
    name: tuple(executed_kernels(ZOO[name], ON.runtime))
    for name in ("condensenet-50", "condensenet-86")
}


def judged(ratio: float, *, inside: bool = True) -> Judged:
    """A prediction that is ``ratio`` times what was measured."""
    predicted = predict_kernels(KERNELS["condensenet-50"], ON)
    measured_ms = predicted.ms / ratio
    interval = (0.0, 1e9) if inside else (0.0, 0.0)
    predicted = dataclasses.replace(predicted, low_ms=interval[0], high_ms=interval[1])
    return Judged(network=str(ratio), predicted=predicted, measured_ms=measured_ms)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_alone_are_priced_as_their_network(name: str) -> None:
    expected, found = predict(ZOO[name]), predict_kernels(KERNELS[name], ON)
    assert found.ms == pytest.approx(expected.ms)
    assert (found.low_ms, found.high_ms) == pytest.approx((expected.low_ms, expected.high_ms))
    assert found.extrapolated == expected.extrapolated


def test_the_breakdown_adds_up_to_the_prediction() -> None:
    found = breakdown_ms(KERNELS["condensenet-86"], ON)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(predict(ZOO["condensenet-86"]).ms)
    conv = [kernel_ms(k, ON) for k in KERNELS["condensenet-86"] if k.kind == "conv"]
    assert found["conv"] == pytest.approx(sum(ms for ms in conv if ms is not None))


def test_a_kind_without_a_price_is_not_in_the_breakdown() -> None:
    weights = {name: ns for name, ns in ON.weights.items() if name != "ns_per_mac.conv"}
    found = breakdown_ms(KERNELS["condensenet-86"], dataclasses.replace(ON, weights=weights))
    assert "conv" not in found
    assert "pool" in found


def test_errors_sum_up() -> None:
    found = evaluation([judged(1.05), judged(0.85), judged(1.3, inside=False), judged(1.0)])
    assert found.networks == 4
    assert found.mean == pytest.approx(0.5 / 4)
    assert found.median == pytest.approx(0.1)
    assert found.within_10_percent == pytest.approx(2 / 4)
    assert found.within_20_percent == pytest.approx(3 / 4)
    assert found.covered == pytest.approx(3 / 4)


def test_ranks_need_three_networks() -> None:
    ms = {"condensenet-50": 2.0, "condensenet-86": 1.0}
    pair = judge(KERNELS, ms, ON)
    assert evaluation(pair).spearman is None
    assert evaluation([*pair, judged(1.0)]).spearman is not None
    # The deeper network is predicted to take longer, and "took" half as long.
    assert pair[1].error > pair[0].error


def test_networks_without_layers_or_time_are_left_out() -> None:
    found = judge(KERNELS, {"condensenet-50": 3.0, "unknown": 1.0}, ON)
    assert [j.network for j in found] == ["condensenet-50"]
    for networks in ({}, {"condensenet-50": list[Kernel]()}):
        with pytest.raises(UserError, match="no network has both layers and a measured time"):
            judge(networks, {"condensenet-50": 3.0}, ON)
