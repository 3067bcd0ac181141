"""Calibrations whose outcome is known: a scaled device, changed prices, and times that are none."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from latency_models import Device, device, load_device
from latency_models.calibrate import (
    INTERVAL_FROM_NETWORKS,
    calibrated,
    scale,
)
from latency_models.charges import COUNTED
from latency_models.executed import executed_kernels
from latency_models.kernels import Kernel
from latency_models.predict import DEFAULT_DEVICE, predict_kernels
from search_space import ZOO
from search_space.errors import UserError

BASE = device(DEFAULT_DEVICE)


def kernel(kind: str, macs: int, elements: int) -> Kernel:
    return Kernel(
        kind=kind, in_channels=8, out_channels=8, in_elements=elements, out_elements=8, macs=macs
    )


NETWORKS = {
    f"net{i}": [
        kernel("conv", (i % 3 + 1) * 10_000_000, 10_000),
        kernel("pointwise", (i % 5 + 1) * 5_000_000, 20_000 * i),
        kernel("depthwise", (i % 2) * 3_000_000 + 1_000_000, 5_000),
        *[kernel("gather", 0, 50_000 * (i % 4))] * i,
    ]
    for i in range(1, 13)
}


def times(on: Device, count: int) -> dict[str, float]:
    return {name: predict_kernels(NETWORKS[name], on).ms for name in list(NETWORKS)[:count]}


def priced(**factors: float) -> Device:
    """The base with some of its prices multiplied."""
    weights = {name: ns * factors.get(name.split(".")[1], 1) for name, ns in BASE.weights.items()}
    return dataclasses.replace(BASE, weights=weights)


def test_the_scale_minimises_the_squared_relative_error() -> None:
    predicted_over_measured = np.array([0.5, 1.0, 2.0])
    found = scale(2 * predicted_over_measured, np.array([2.0, 2.0, 2.0]))

    def squares(factor: float) -> float:
        return float(((factor * predicted_over_measured - 1) ** 2).sum())

    assert squares(found) < min(squares(0.99 * found), squares(1.01 * found))


@pytest.mark.parametrize("count", [1, 2, 4, 5, 12])
def test_a_scaled_device_is_recovered(count: int) -> None:
    measured_ms = {name: 2.5 * ms for name, ms in times(BASE, count).items()}
    found = calibrated(BASE, NETWORKS, measured_ms, board="mine")
    assert found.weights == pytest.approx({n: 2.5 * ns for n, ns in BASE.weights.items()}, rel=1e-6)
    assert found.key == "mine/ncnn/1"
    assert BASE.key in found.note
    assert "times 2.5, with" in found.note
    assert all(name in found.note for name in measured_ms)


def test_changed_prices_are_recovered_from_many_networks() -> None:
    truth = priced(conv=2.0, pointwise=0.5, depthwise=1.5, moved=3.0)
    rng = np.random.default_rng(0)
    networks = {
        f"net{i}": [
            kernel("conv", int(10 ** rng.uniform(5, 8)), 1000),
            kernel("pointwise", int(10 ** rng.uniform(5, 8)), 1000),
            kernel("depthwise", int(10 ** rng.uniform(4, 7)), 1000),
            kernel("concat", 0, int(10 ** rng.uniform(5, 7))),
        ]
        for i in range(100)
    }
    measured_ms = {name: predict_kernels(k, truth).ms for name, k in networks.items()}
    found = calibrated(BASE, networks, measured_ms, board="mine")
    for name in ("mac.conv", "mac.pointwise", "mac.depthwise", "element.moved"):
        assert found.weights[f"ns_per_{name}"] == pytest.approx(
            truth.weights[f"ns_per_{name}"], rel=0.05
        )
    assert found.error.mean < 0.02


def test_what_was_measured_adds_to_what_the_base_rests_on_where_all_prices_move() -> None:
    kinds = BASE.measured_kinds
    scaled = calibrated(BASE, NETWORKS, times(BASE, 4), board="mine")
    assert (scaled.measured_kinds, scaled.networks) == (kinds, BASE.networks)
    found = calibrated(BASE, NETWORKS, times(BASE, 6), board="mine")
    assert found.measured_kinds["gather"] == kinds.get("gather", 0) + 6
    assert found.networks == (*BASE.networks, *(f"net{i}" for i in range(1, 7)))


@pytest.mark.parametrize("count", [1, 2])
def test_the_error_of_one_or_two_networks_is_that_of_the_base_widened(count: int) -> None:
    found = calibrated(BASE, NETWORKS, times(BASE, count), board="mine").error
    factor = math.sqrt(1 + 1 / count)
    assert found.log_residual_90 == pytest.approx(BASE.error.log_residual_90 * factor, abs=1e-4)
    assert found.mean == pytest.approx(BASE.error.mean * factor, abs=1e-4)
    assert found.within_10_percent == pytest.approx(BASE.error.within_10_percent / factor, abs=1e-4)


def test_from_three_networks_on_those_left_out_tell_the_error() -> None:
    measured_ms = times(BASE, 3)
    measured_ms["net2"] *= 1.5
    found = calibrated(BASE, NETWORKS, measured_ms, board="mine").error
    left_out = calibrated(
        BASE, NETWORKS, {n: ms for n, ms in measured_ms.items() if n != "net2"}, board="mine"
    )
    ratios = [predict_kernels(NETWORKS["net2"], left_out).ms / measured_ms["net2"]]
    for name in ("net1", "net3"):
        others = {n: ms for n, ms in measured_ms.items() if n != name}
        on = calibrated(BASE, NETWORKS, others, board="mine")
        ratios.append(predict_kernels(NETWORKS[name], on).ms / measured_ms[name])
    assert found.mean == pytest.approx(sum(abs(r - 1) for r in ratios) / 3, abs=1e-4)
    assert found.log_residual_90 == pytest.approx(max(abs(math.log(r)) for r in ratios), abs=1e-4)


def test_few_networks_do_not_narrow_the_interval_and_nine_do() -> None:
    few = calibrated(BASE, NETWORKS, times(BASE, INTERVAL_FROM_NETWORKS - 1), board="mine").error
    assert few.mean == pytest.approx(0, abs=1e-4)
    assert few.log_residual_90 > BASE.error.log_residual_90
    many = calibrated(BASE, NETWORKS, times(BASE, INTERVAL_FROM_NETWORKS), board="mine").error
    assert many.log_residual_90 == pytest.approx(0, abs=1e-4)


def test_a_calibrated_device_is_read_back(tmp_path: Path) -> None:
    found = calibrated(
        BASE, NETWORKS, times(BASE, 6), board="mine", runtime="onnxruntime", threads=4, core="A53"
    )
    path = tmp_path / "mine.yaml"
    path.write_text(found.to_yaml(), encoding="utf-8")
    assert load_device(path).to_dict() == found.to_dict()
    assert device(str(path)) is device(str(path))
    assert device(str(path)).key == "mine/onnxruntime/4"


def test_kinds_priced_by_their_counts_stay_so_and_their_prices_are_scaled() -> None:
    prices_ns = dict.fromkeys(COUNTED, 0.5)
    base = dataclasses.replace(
        BASE, weights=dict(BASE.weights) | prices_ns, counted_kinds={"gather": 1.0}
    )
    measured_ms = {name: 2.5 * ms for name, ms in times(base, 4).items()}
    found = calibrated(base, NETWORKS, measured_ms, board="mine")
    assert found.counted_kinds == {"gather": 1.0}
    for name in COUNTED:
        assert found.weights[name] == pytest.approx(2.5 * 0.5, rel=1e-6)
    for name, ms in measured_ms.items():
        assert predict_kernels(NETWORKS[name], found).ms == pytest.approx(ms, rel=1e-6)


@pytest.mark.parametrize("runtime", ["ncnn", "onnxruntime", "tflite"])
def test_networks_of_another_runtime_are_predicted_as_they_were_measured(runtime: str) -> None:
    networks = {"net": tuple(executed_kernels(ZOO["condensenet-86"], runtime))}
    measured_ms = {"net": 30.0}
    found = calibrated(BASE, networks, measured_ms, board="mine", runtime=runtime)
    assert predict_kernels(networks["net"], found).ms == pytest.approx(30.0, rel=1e-4)


@pytest.mark.parametrize(
    ("measured_ms", "sentence"),
    [
        ({}, "no network was measured"),
        ({"net1": 0.0}, r"the time of net1 \(=0.0\) must be milliseconds above 0"),
        ({"net1": math.inf}, "must be milliseconds above 0"),
        ({"other": 1.0}, "other was measured, and its layers are not known"),
    ],
)
def test_times_that_are_none_are_refused(measured_ms: dict[str, float], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        calibrated(BASE, NETWORKS, measured_ms, board="mine")


def test_kernels_without_a_price_are_refused() -> None:
    weights = {n: ns for n, ns in BASE.weights.items() if n != "ns_per_mac.depthwise"}
    with pytest.raises(UserError, match="no price for depthwise of net1"):
        calibrated(
            dataclasses.replace(BASE, weights=weights), NETWORKS, {"net1": 1.0}, board="mine"
        )


@pytest.mark.parametrize("board", ["", "a/b", "my board"])
def test_the_name_of_a_board_is_one_word(board: str) -> None:
    with pytest.raises(UserError, match="one word without /"):
        calibrated(BASE, NETWORKS, {"net1": 1.0}, board=board)
