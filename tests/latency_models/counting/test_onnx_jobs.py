"""Jobs that onnxruntime on this machine computes: each holds the kernel that it is named after."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from latency_models.counting.designed import DESIGN
from latency_models.counting.ncnn_jobs import side
from latency_models.counting.onnx_jobs import nothing_job, onnx_job
from latency_models.kernels import Kernel
from latency_models.onnx_kernels import onnx_kernels


def outputs(job: dict[str, Any]) -> list[np.ndarray]:
    """What the job computes of inputs that count their elements."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(job["model"], providers=["CPUExecutionProvider"])
    shapes = job["inputs"].items()
    return session.run(
        None, {n: np.arange(np.prod(s), dtype=np.float32).reshape(s) for n, s in shapes}
    )


@pytest.mark.parametrize("sort", DESIGN)
def test_onnxruntime_computes_as_many_elements_as_the_kernel_writes(
    sort: str, small: dict[str, Kernel], tmp_path: Path
) -> None:
    kernel = small[sort]
    job = onnx_job(kernel, tmp_path / "k.onnx")
    assert sum(int(np.prod(shape)) for shape in job["inputs"].values()) == kernel.in_elements
    found = outputs(job)
    assert sum(array.size for array in found) == kernel.out_elements
    assert all(np.isfinite(array).all() for array in found)


@pytest.mark.parametrize("sort", [s for s in DESIGN if "x" in s and "avg" not in s])
def test_the_file_is_read_as_the_kernel_that_it_was_written_from(
    sort: str, small: dict[str, Kernel], tmp_path: Path
) -> None:
    kernel, path = small[sort], tmp_path / "k.onnx"
    onnx_job(kernel, path)
    (found,) = onnx_kernels(path, None)
    names = ("kind", "in_channels", "out_channels", "in_elements", "out_elements", "macs")
    for name in (*names, "kernel", "stride", "groups"):
        assert getattr(found, name) == getattr(kernel, name), name


def test_channels_are_shuffled_as_by_a_transposed_table(
    small: dict[str, Kernel], tmp_path: Path
) -> None:
    kernel = small["shuffle"]
    (moved,) = outputs(onnx_job(kernel, tmp_path / "k.onnx"))
    size = side(kernel.in_elements, kernel.in_channels)
    read = moved[0, :, 0, 0].astype(int) // size**2
    table = np.arange(kernel.in_channels).reshape(kernel.groups, -1)
    assert read.tolist() == table.T.ravel().tolist()


def test_the_idle_inference_is_one_element(tmp_path: Path) -> None:
    job = nothing_job(tmp_path / "nothing.onnx")
    assert job["inputs"] == {"x": [1, 1]}
    assert [array.size for array in outputs(job)] == [1]
    nodes = onnx.load(job["model"]).graph.node
    assert Counter(node.op_type for node in nodes) == {"Relu": 1}
