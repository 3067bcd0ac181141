from __future__ import annotations

import dataclasses
import json

import pytest

from latency_models import device, predict
from search.limits import Limits
from search_space import SPACES, ZOO, InfeasibleBudget, UserError, cost, macs

NET = ZOO["condensenetv2-a"]


def test_ratios_are_cost_over_limit() -> None:
    limits = Limits(macs=100_000_000, latency_ms=50.0)
    assert limits.ratios(NET) == {
        "macs": macs(NET) / 100e6,
        "latency_ms": predict(NET).ms / 50.0,
    }
    assert limits.price(NET) == max(limits.ratios(NET).values())


def test_no_limit_admits_everything() -> None:
    assert Limits().price(NET) == 0
    assert Limits().constraints(Limits().estimate(NET)) == {}


def test_estimate_is_that_of_the_target() -> None:
    estimate = Limits(device=device("pixel-4/tflite/1")).estimate(NET)
    assert estimate.macs == cost(NET).macs
    assert estimate.latency_ms == predict(NET, "pixel-4/tflite/1").ms


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_feasible_names_the_cheapest_where_nothing_fits(space) -> None:
    inside = space.decode(Limits(macs=150_000_000).feasible(space))
    assert macs(inside) <= 150_000_000
    with pytest.raises(InfeasibleBudget, match=inside.id) as caught:
        Limits(macs=1000).feasible(space)
    assert caught.value.exit_code == 3


def test_two_limits_may_exclude_each_other() -> None:
    with pytest.raises(InfeasibleBudget, match=r"150.00M MACs and 0.1 ms on raspberry"):
        Limits(macs=150_000_000, latency_ms=0.1).feasible(SPACES["imagenet-224"])


def test_another_bound_is_refused() -> None:
    with pytest.raises(UserError, match=r"`latency_bound` .* must be one of point, high"):
        Limits(latency_ms=50.0, latency_bound="upper")


def test_the_upper_end_of_the_interval_can_be_what_is_limited() -> None:
    limits = Limits(latency_ms=50.0, latency_bound="high")
    predicted = predict(NET)
    assert limits.ratios(NET) == {"latency_high_ms": predicted.high_ms / 50.0}
    assert limits.constraints(limits.estimate(NET)) == {"latency_high_ms": predicted.high_ms - 50.0}
    assert str(limits) == "50 ms on raspberry-pi-4/ncnn/1 for the upper end of the interval"


def test_settings_name_a_shipped_device_and_hold_another() -> None:
    limits = Limits(macs=100, device=device("pixel-4/tflite/1"), latency_bound="high")
    assert limits.to_settings()["device"] == "pixel-4/tflite/1"
    assert Limits.from_settings(limits.to_settings()) == limits
    faster = {name: ns / 2 for name, ns in limits.device.weights.items()}
    own = dataclasses.replace(limits, device=dataclasses.replace(limits.device, weights=faster))
    found = Limits.from_settings(json.loads(json.dumps(own.to_settings())))
    assert found.device.to_dict() == own.device.to_dict()
    assert found.estimate(NET) == own.estimate(NET)
