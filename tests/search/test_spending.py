"""Parts and kernels of a network: that they add up to the network."""

from __future__ import annotations

import dataclasses

import pytest

from latency_models import device, predict
from latency_models.executed import executed_kernels
from search.spending import by_kind, by_part, priced_kernels
from search_space import ZOO, cost


@pytest.mark.parametrize("name", ["condensenetv2-a", "sfr-shufflenetv2-x0.5", "resnet-56"])
@pytest.mark.parametrize("key", ["raspberry-pi-4/ncnn/1", "jetson-nano/ncnn/1"])
def test_parts_and_kinds_add_up(name: str, key: str) -> None:
    spec, on = ZOO[name], device(key)
    kernels = priced_kernels(spec, on)
    assert [k.kernel for k in kernels] == list(executed_kernels(spec, on.runtime))
    parts, kinds = by_part(spec, kernels), by_kind(kernels)
    assert sum(p.macs or 0 for p in parts) == cost(spec).macs
    assert sum(p.params or 0 for p in parts) == cost(spec).params
    for spent in (parts, kinds):
        assert sum(s.ms or 0.0 for s in spent) == pytest.approx(predict(spec, key).ms)
        assert sum(s.kernels for s in spent) == len(kernels)
        assert sum(s.executed_macs for s in spent) == sum(k.kernel.macs for k in kernels)
    times = [k.ms or 0.0 for k in kinds]
    assert times == sorted(times, reverse=True)


def test_what_a_runtime_multiplies_is_not_what_the_network_has() -> None:
    spec = ZOO["condensenetv2-a"]
    parts = {
        p.name: p for p in by_part(spec, priced_kernels(spec, device("raspberry-pi-4/ncnn/1")))
    }
    assert list(parts)[:3] == ["stem", "stage1", "transition1"]
    # Reactivations are executed as dense convolutions.
    assert parts["stage5"].executed_macs > 4 * (parts["stage5"].macs or 0)
    assert parts["stem"].executed_macs == parts["stem"].macs


def test_what_has_no_price_takes_no_time_that_is_known() -> None:
    spec, on = ZOO["condensenet-86"], device("raspberry-pi-4/ncnn/1")
    bare = dataclasses.replace(on, weights={k: v for k, v in on.weights.items() if "pool" not in k})
    kernels, all_priced = priced_kernels(spec, bare), priced_kernels(spec, on)
    kinds = {s.name: s.ms for s in by_kind(kernels)}
    assert {name for name, ms in kinds.items() if ms is None} == {"pool"}
    assert list(kinds)[-1] == "pool"
    parts = {s.name: s.ms for s in by_part(spec, kernels)}
    assert {name for name, ms in parts.items() if ms is None} == {"transition1", "transition2"}
    assert parts["stage1"] == {s.name: s.ms for s in by_part(spec, all_priced)}["stage1"]


def test_kernels_in_words() -> None:
    kernels = priced_kernels(ZOO["condensenetv2-a"], device("raspberry-pi-4/ncnn/1"))
    words = [str(k) for k in kernels]
    assert words[0] == "conv 3x3, 3 to 16 at 224x224"
    assert "grouped_conv 3x3, 32 to 8 at 112x112, 2 groups" in words
    assert (kernels[0].part, kernels[-1].part) == ("stem", "head")


def test_kernels_are_shown_at_sizes_that_the_network_has() -> None:
    spec, on = ZOO["condensenetv2-110"], device("raspberry-pi-4/ncnn/1")
    shown = [(k.kernel.kind, str(k)) for k in priced_kernels(spec, on)]
    sides = {(kind, text.split(" at ")[1].split(",")[0]) for kind, text in shown}
    assert {side for kind, side in sides if kind == "binary"} == {"32x32", "16x16", "8x8"}
    assert {side for _, side in sides} <= {"32x32", "16x16", "8x8", "1x1"}
