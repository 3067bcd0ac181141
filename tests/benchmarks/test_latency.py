"""The benchmark's leave-out, on measurements that the tests make up."""

import dataclasses
import random
from pathlib import Path

import pytest

from benchmarks.latency import only, row, table
from benchmarks.latency_runs import (
    CALIBRATION_DRAWS,
    Run,
    by_macs,
    calibrated_run,
    counters,
    fits_without,
    left_out,
    nearest,
    scaled,
)
from latency_models.fit import fit
from latency_models.kernels import Kernel
from latency_models.sources import Measurements


def made_up(board: str = "b", *, speed: float = 1.0, core: str = "c") -> Measurements:
    """Networks of 1x1 convolutions that take 1 ns per multiply-add, divided by the speed."""
    rng = random.Random(0)
    networks, times = {}, {}
    for i in range(8):
        macs = rng.randint(10**6, 10**8)
        networks[f"net{i}"] = [
            Kernel(
                kind="pointwise",
                in_channels=8,
                out_channels=8,
                in_elements=8,
                out_elements=8,
                macs=macs,
                weights=64,
            )
        ]
        times[f"net{i}"] = macs / 1e6 / speed
    return Measurements(
        board=board,
        runtime="ncnn",
        threads=1,
        precision="fp32",
        core=core,
        source="s",
        licence="l",
        note="n",
        networks=networks,
        measured_ms=times,
    )


def test_no_fit_sees_the_family_that_it_is_judged_on() -> None:
    measured = dataclasses.replace(made_up(), family=lambda name: str(int(name[3:]) // 2))
    for device, names in fits_without(measured):
        assert len(names) == 2
        assert not set(names) & set(device.networks)
        assert len(device.networks) == 6


def test_every_network_is_left_out_once() -> None:
    run = left_out(made_up())
    assert sorted(j.network for j in run.judged) == made_up().names
    assert max(abs(j.error) for j in run.judged) < 0.02


def test_multiply_adds_alone_are_exact_where_nothing_else_costs() -> None:
    assert max(abs(j.error) for j in by_macs(made_up()).judged) < 1e-9


def test_a_wrong_time_moves_only_its_own_error() -> None:
    measured = made_up()
    wrong = dataclasses.replace(
        measured, measured_ms={**measured.measured_ms, "net0": 2 * measured.measured_ms["net0"]}
    )
    errors = {j.network: j.error for j in by_macs(wrong).judged}
    assert errors["net0"] == pytest.approx(-0.5)
    assert max(abs(e) for name, e in errors.items() if name != "net0") < 0.02


def test_scaling_finds_the_speed_of_a_board() -> None:
    base, fast = fit(made_up()), made_up("fast", speed=4)
    on = scaled(base, fast.networks, {n: fast.measured_ms[n] for n in ("net0", "net1")})
    for name, ns in base.weights.items():
        assert on.weights[name] == pytest.approx(ns / 4, rel=0.02)


def test_calibrations_judge_networks_that_neither_fit_nor_scale_saw() -> None:
    run = calibrated_run(made_up("fast", speed=4), made_up(), seed=0)
    assert run.device == "fast/ncnn/1 from b/ncnn/1"
    assert len(run.judged) == 8 * CALIBRATION_DRAWS
    assert max(abs(j.error) for j in run.judged) < 0.05


def test_the_nearest_board_has_the_same_core_else_the_same_precision() -> None:
    a, b, c = made_up("a", core="x"), made_up("b", core="y"), made_up("c", core="x")
    half = dataclasses.replace(made_up("half", core="z"), precision="fp16")
    assert nearest(a, [half, a, b, c]) is c
    assert nearest(b, [half, a, b, c]) is a


def test_a_row_is_a_mean_over_boards() -> None:
    one, two = left_out(made_up()), by_macs(made_up())
    halved = Run(
        device="halved",
        judged=[dataclasses.replace(j, measured_ms=2 * j.measured_ms) for j in two.judged],
    )
    found = row("both", [one, halved])
    assert found.runs == 2
    assert found.mean == pytest.approx(0.25, abs=0.01)
    assert found.within_20_percent == 0.5
    assert row("one", [one], intervals=False).covered is None
    assert "both" in list(table([found]))[1]
    assert [j.network for j in only([one], ["net3", "absent"])[0].judged] == ["net3"]


def test_counters_are_read_for_one_core(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("cpu,model,insn,vfma32,vfma16,m1,m3\nslow,net,10,3,1,5,6\nfast,net,9,0,4,1,2\n")
    assert counters(path, "slow") == {"net": [4.0, 6.0, 5.0, 6.0]}
