"""Properties of predictions; no figure of a device is asserted."""

import dataclasses
import subprocess
import sys

import pytest

from latency_models import DEVICES, Device, device, predict, predict_on
from latency_models.executed import executed_kernels
from latency_models.kernels import Kernel, network_kernels
from latency_models.predict import (
    DEFAULT_DEVICE,
    GUESS_FACTOR,
    breakdown_ms,
    kernel_ms,
    network_macs,
    predict_kernels,
    predict_network,
)
from search_space.cost import cost
from search_space.errors import UnknownName
from search_space.spec import DenseStage, NetworkSpec, StemSpec
from search_space.zoo import ZOO


def network(depth: int = 2, **changes: object) -> NetworkSpec:
    stage = DenseStage(depth=depth, growth_rate=8, **changes)
    return NetworkSpec(image_size=64, classes=10, stem=StemSpec(channels=16), stages=(stage,) * 2)


def changed(**changes: object) -> Device:
    return dataclasses.replace(device(DEFAULT_DEVICE), **changes)


PRICING_KERNELS = [key for key in DEVICES if device(key).counter is None]
PAPER_ARM = "paper-arm/paper/1"


@pytest.mark.parametrize("key", PRICING_KERNELS)
def test_ms_is_the_sum_over_kernels_and_lies_in_its_interval(key: str) -> None:
    spec = ZOO["condensenetv2-a"]
    found = predict(spec, key)
    prices = [kernel_ms(k, device(key)) for k in executed_kernels(spec, device(key).runtime)]
    assert found.ms == pytest.approx(sum(p for p in prices if p is not None))
    assert found.low_ms < found.ms < found.high_ms
    assert found.unpriced == ()


@pytest.mark.parametrize("key", DEVICES)
def test_a_deeper_network_takes_longer(key: str) -> None:
    times = [predict(network(depth), key).ms for depth in (1, 2, 4, 8)]
    assert times == sorted(set(times))


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UnknownName, match="pixel-4/tflite/1"):
        predict(network(), "pixel-4")


def test_kinds_without_a_price_are_named_and_left_out() -> None:
    weights = dict(device(DEFAULT_DEVICE).weights)
    del weights["ns_per_element.moved"]
    found = predict_on(network(), changed(weights=weights))
    assert found.unpriced == ("concat", "elementwise")
    assert found.ms < predict(network()).ms


def test_kinds_never_measured_are_named_and_widen_the_interval() -> None:
    kinds = {k.kind: 19 for k in network_kernels(network())}
    wide = (1, 10**12)
    known = predict_on(network(), changed(measured_kinds=kinds, macs_range=wide))
    assert known.extrapolated == ()
    del kinds["concat"]
    unknown = predict_on(network(), changed(measured_kinds=kinds, macs_range=wide))
    assert unknown.extrapolated == ("concat: in 0 of the 19 networks measured",)
    assert unknown.ms == known.ms
    assert unknown.low_ms < known.low_ms < known.high_ms < unknown.high_ms


@pytest.mark.parametrize("macs_range", [(1, 2), (10**11, 10**12)])
def test_networks_larger_or_smaller_than_measured_are_told(macs_range: tuple[int, int]) -> None:
    kinds = {k.kind: 19 for k in network_kernels(network())}
    inside = predict_on(network(), changed(measured_kinds=kinds, macs_range=(1, 10**12)))
    outside = predict_on(network(), changed(measured_kinds=kinds, macs_range=macs_range))
    assert len(outside.extrapolated) == 1
    assert "M MACs: outside the" in outside.extrapolated[0]
    assert outside.high_ms / outside.ms == pytest.approx(
        (inside.high_ms / inside.ms) ** GUESS_FACTOR
    )


def test_an_operation_without_a_kind_is_named_and_left_out() -> None:
    known = tuple(network_kernels(network()))
    size = {"in_channels": 1, "out_channels": 1, "in_elements": 9, "out_elements": 9}
    unknown = Kernel(kind="other", function="CumSum", **size)
    expected = predict_on(network(), device(DEFAULT_DEVICE))
    for key in (DEFAULT_DEVICE, PAPER_ARM):
        assert predict_kernels((*known, unknown), device(key)).unpriced == ("CumSum",)
    assert predict_kernels((*known, unknown), device(DEFAULT_DEVICE)).ms == pytest.approx(
        expected.ms
    )
    table = predict_kernels((*known, Kernel(kind="other", **size)), device(DEFAULT_DEVICE))
    assert table.unpriced == ()


@pytest.mark.parametrize("key", [DEFAULT_DEVICE, PAPER_ARM])
def test_parts_sum_up_to_the_whole(key: str) -> None:
    on, spec = device(key), ZOO["condensenetv2-a"]
    parts_ms = breakdown_ms(spec, on)
    assert sum(parts_ms.values()) == pytest.approx(predict_network(spec, on).ms)
    assert list(parts_ms.values()) == sorted(parts_ms.values(), reverse=True)
    known = tuple(network_kernels(spec))
    assert sum(breakdown_ms(known, on).values()) == pytest.approx(predict_network(known, on).ms)
    assert network_macs(known) == network_macs(spec) == cost(spec).macs


def test_the_papers_arm_is_proportional_to_the_authors_count() -> None:
    on = device(PAPER_ARM)
    for name in ("condensenet-c", "condensenetv2-a", "sparsenet-121"):
        found = predict(ZOO[name], PAPER_ARM)
        flops = cost(ZOO[name], convention="condensenet").paper_flops
        assert found.ms == pytest.approx(on.ns_per_flop * flops / 1e6)
        assert found.note == on.note
    assert predict(ZOO["condensenet-c"], PAPER_ARM).extrapolated == ()
    assert predict(ZOO["condensenet-c"]).note == ""


def test_the_papers_arm_tells_what_it_does_not_know_of_kernels() -> None:
    spec, on = ZOO["condensenet-c"], device(PAPER_ARM)
    found = predict_kernels(network_kernels(spec), on)
    assert found.ms == pytest.approx(on.ns_per_flop * cost(spec).macs / 1e6)
    assert "M FLOPs: outside the 274.0 to 569.0 M" in found.extrapolated[0]
    assert "not counted of kernels" in found.extrapolated[1]


CONDENSED = ("gather", "index_add", "grouped_pointwise", "grouped_conv", "shuffle")


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        # ncnn computes learned layers of single channels densely.
        (DEFAULT_DEVICE, {"grouped_conv"}),
        ("pixel-4/tflite/1", {"gather", "index_add", "grouped_pointwise", "shuffle"}),
    ],
)
def test_condensed_operators_are_flagged_where_they_are_executed(key: str, kinds: set[str]) -> None:
    remarks = predict(ZOO["condensenetv2-a"], key).extrapolated
    told = {text.partition(":")[0] for text in remarks}
    assert told & set(CONDENSED) == kinds


def test_torch_and_the_fitting_libraries_are_not_imported() -> None:
    code = (
        "import sys; from latency_models import predict; from search_space.zoo import zoo;"
        "predict(zoo('condensenet-a'));"
        "print([m for m in ('torch', 'scipy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
