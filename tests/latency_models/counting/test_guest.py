"""The script of the guest, run by the Python here: marks count nothing where no plugin listens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latency_models.counting.measure import GUEST
from latency_models.counting.ncnn_jobs import ncnn_job
from latency_models.counting.onnx_jobs import nothing_job, onnx_job
from latency_models.kernels import Kernel


def guest(runtime: str, jobs: list[dict[str, Any]], folder: Path, precision: str = "fp32") -> Any:
    pytest.importorskip(runtime)
    file = folder / "jobs.json"
    file.write_text(json.dumps(jobs), encoding="utf-8")
    return subprocess.run(
        # From its own folder: it knows nothing of this project.
        [sys.executable, GUEST, runtime, file, precision],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"},
    )


def test_the_guest_runs_jobs_of_ncnn(small: dict[str, Kernel], tmp_path: Path) -> None:
    jobs = [ncnn_job(small[sort]) for sort in ("1x1", "first 3x3", "add", "concat", "linear")]
    for precision in ("fp32", "fp16"):
        done = guest("ncnn", jobs, tmp_path, precision)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_guest_runs_jobs_of_onnxruntime(small: dict[str, Kernel], tmp_path: Path) -> None:
    jobs = [nothing_job(tmp_path / "nothing.onnx")]
    jobs += [onnx_job(small[s], tmp_path / f"{s}.onnx") for s in ("1x1", "scale", "split")]
    done = guest("onnxruntime", jobs, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_network_that_ncnn_refuses_ends_the_guest(tmp_path: Path) -> None:
    job = {"param": "7767517\n1 1\nNone x 0 1 y\n", "inputs": {}, "before": [], "stages": ["y"]}
    done = guest("ncnn", [job], tmp_path)
    assert done.returncode == 1
    assert "ncnn cannot load 7767517" in done.stderr


def test_a_blob_that_nothing_writes_ends_the_guest(
    small: dict[str, Kernel], tmp_path: Path
) -> None:
    done = guest("ncnn", [{**ncnn_job(small["1x1"]), "stages": ["nowhere"]}], tmp_path)
    assert done.returncode == 1
    assert "ncnn cannot compute nowhere" in done.stderr
