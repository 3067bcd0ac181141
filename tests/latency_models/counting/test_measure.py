"""What is made of the emulator's marks, tables, and two kernels counted for real."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency_models.counting.builds import BUILDS, RuntimeBuild
from latency_models.counting.measure import count_kernels, read_table, run_jobs, write_table
from latency_models.emulator import Counts, Emulator
from latency_models.kernels import Kernel

Law = Callable[[Kernel], Counts]


def test_work_is_the_first_interval_less_the_second(build: RuntimeBuild, emulator: Any) -> None:
    # The emulator answers with n * 100 + 7 and then 7 for the n-th stage.
    jobs = [{"stages": ["a", "b"]}, {"stages": ["y"]}]
    assert [c.load for c in run_jobs(jobs, build, emulator)] == [0, 100, 200]
    assert emulator.jobs == jobs
    assert emulator.told == [("guest.py", "ncnn", "fp32", "cortex-a72")]


def test_each_kernel_of_ncnn_is_a_job_of_one_stage(
    build: RuntimeBuild, emulator: Any, small: dict[str, Kernel]
) -> None:
    counts = count_kernels([small["1x1"], small["first 3x3"]], build, emulator)
    assert [c.load for c in counts] == [0, 100]
    assert [len(job["stages"]) for job in emulator.jobs] == [1, 1]
    assert [len(job["before"]) for job in emulator.jobs] == [1, 0]


def test_each_kernel_of_onnxruntime_is_a_file_after_one_that_computes_nothing(
    build: RuntimeBuild, emulator: Any, small: dict[str, Kernel]
) -> None:
    on = dataclasses.replace(build, runtime="onnxruntime", lanes=1)
    count_kernels([small["1x1"], small["add"]], on, emulator)
    assert [Path(job["model"]).name for job in emulator.jobs] == [
        "nothing.onnx",
        "0.onnx",
        "1.onnx",
    ]
    assert emulator.told == [("guest.py", "onnxruntime", "fp32", "cortex-a72")]


def test_a_table_is_read_as_it_was_written(
    small: dict[str, Kernel], law: Law, tmp_path: Path
) -> None:
    counted = [(kernel, law(kernel)) for kernel in small.values()]
    path = tmp_path / "new" / "table.csv"
    write_table(counted, path)
    assert read_table(path) == counted
    again = tmp_path / "again.csv"
    write_table(read_table(path), again)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("build", [b for b in BUILDS if b.counts.is_file()], ids=lambda b: b.name)
def test_shipped_tables_hold_kernels_that_were_executed(build: RuntimeBuild) -> None:
    counted = read_table(build.counts)
    assert len(counted) > 800
    for kernel, counts in counted:
        assert counts.instructions > 0, kernel
        assert not counts.fma16 or build.precision == "fp16", kernel


# --- For real -----------------------------------------------------------------------------------


@pytest.mark.skipif("SEARCH_ARM" not in os.environ, reason="no emulated ARM userland is named")
@pytest.mark.parametrize("build", BUILDS, ids=lambda b: b.name)
def test_a_1x1_convolution_executes_its_multiply_adds_and_repeats_itself(
    build: RuntimeBuild, pointwise: Callable[..., Kernel]
) -> None:
    emulator = Emulator(Path(os.environ["SEARCH_ARM"]))
    kernel = pointwise(32, 64, 12)
    first, again = count_kernels([kernel, kernel], build, emulator)
    lanes = 8 if build.precision == "fp16" else 4
    assert first.fma32 * 4 + first.fma16 * 8 == pytest.approx(kernel.macs, rel=0.05)
    assert (first.fma16 if lanes == 4 else first.fma32) == 0
    assert first.instructions > kernel.macs / lanes
    assert count_kernels([kernel, kernel], build, emulator) == [first, again]
    # Where it runs among others moves addresses, not instructions.
    assert again.instructions == pytest.approx(first.instructions, rel=0.02)
