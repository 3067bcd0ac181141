"""Jobs that ncnn on this machine computes: each holds the kernel that it is named after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latency_models.counting.designed import DESIGN, designed
from latency_models.counting.ncnn_jobs import ncnn_job, param, side
from latency_models.kernels import KINDS, Kernel

NEVER_COUNTED = {"index_add", "other"}
"""Kinds that no network has once it is lowered for a runtime."""


def outputs(ncnn: Any, job: dict[str, Any], *blobs: str) -> list[np.ndarray]:
    """What the job computes of inputs that count their elements."""
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = 1, False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param_mem(job["param"]) == 0
    assert net.load_model(ncnn.DataReaderFromEmpty()) == 0
    extractor = net.create_extractor()
    for blob, shape in job["inputs"].items():
        values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape[::-1])
        extractor.input(blob, ncnn.Mat(values).clone())
    found = []
    for blob in (*job["before"], *blobs):
        code, mat = extractor.extract(blob)
        assert code == 0
        found.append(np.array(mat))
    return found[len(job["before"]) :]


def writes(param_text: str, kind: str) -> list[str]:
    """The blobs that the first layer of a kind writes."""
    line = next(line for line in param_text.splitlines() if line.startswith(kind + " "))
    words = line.split()
    reads, written = int(words[2]), int(words[3])
    return words[4 + reads : 4 + reads + written]


def test_every_kind_but_those_that_lowering_removes_is_designed() -> None:
    assert {k.kind for k in designed()} == set(KINDS) - NEVER_COUNTED


def test_ncnn_loads_the_kernels_of_the_design() -> None:
    ncnn = pytest.importorskip("ncnn")
    for kernel in list(designed())[::3]:
        net = ncnn.Net()
        assert net.load_param_mem(ncnn_job(kernel)["param"]) == 0, kernel
        assert net.load_model(ncnn.DataReaderFromEmpty()) == 0, kernel


@pytest.mark.parametrize("sort", DESIGN)
def test_ncnn_computes_as_many_elements_as_the_kernel_writes(
    sort: str, small: dict[str, Kernel]
) -> None:
    kernel, job = small[sort], ncnn_job(small[sort])
    blobs = writes(job["param"], "Slice") if kernel.kind == "split" else job["stages"]
    found = outputs(pytest.importorskip("ncnn"), job, *blobs)
    assert sum(array.size for array in found) == kernel.out_elements
    assert all(np.isfinite(array).all() for array in found)


@pytest.mark.parametrize("sort", DESIGN)
def test_a_job_reads_what_the_kernel_reads(sort: str, small: dict[str, Kernel]) -> None:
    kernel, job = small[sort], ncnn_job(small[sort])
    assert sum(int(np.prod(shape)) for shape in job["inputs"].values()) == kernel.in_elements
    # The ReLUs before it write what it reads; an image comes from outside.
    assert len(job["before"]) == (0 if kernel.in_channels == 3 else len(job["inputs"]))


@pytest.mark.parametrize("sort", [sort for sort in DESIGN if sort.startswith(("gather", "shuf"))])
def test_channels_are_moved_and_none_is_changed(sort: str, small: dict[str, Kernel]) -> None:
    kernel, job = small[sort], ncnn_job(small[sort])
    (moved,) = outputs(pytest.importorskip("ncnn"), job, "y")
    size = side(kernel.in_elements, kernel.in_channels)
    channels = np.arange(kernel.in_elements).reshape(kernel.in_channels, size, size)
    read = [int(channel[0, 0]) // size**2 for channel in moved]
    assert np.array_equal(moved, channels[read])
    most = -(-kernel.out_channels // kernel.in_channels)
    assert max(read.count(i) for i in read) <= max(most, 1)
    assert read != list(range(len(read)))


def test_a_gather_moves_its_runs_whole() -> None:
    kernel = Kernel(
        kind="gather",
        in_channels=16,
        out_channels=24,
        in_elements=64,
        out_elements=96,
        parts=6,
    )
    (moved,) = outputs(pytest.importorskip("ncnn"), ncnn_job(kernel), "y")
    starts = [int(channel[0, 0]) // 4 for channel in moved[::4]]
    assert [int(c[0, 0]) // 4 for c in moved] == [s + i for s in starts for i in range(4)]
    # Six runs of the four that there are: each once before any comes twice.
    assert set(starts[:4]) == {0, 4, 8, 12}


def test_a_param_file_counts_its_layers_and_blobs() -> None:
    text = param([("Input", [], ["x"], ""), ("Split", ["x"], ["a", "b"], "")])
    magic, numbers, *layers = text.splitlines()
    assert (magic, numbers) == ("7767517", "2 3")
    assert layers[1].split() == ["Split", "layer1", "1", "2", "x", "a", "b"]


def test_a_kind_that_is_never_counted_has_no_job() -> None:
    for kind in NEVER_COUNTED:
        kernel = Kernel(kind=kind, in_channels=4, out_channels=4, in_elements=4, out_elements=4)
        with pytest.raises(KeyError):
            ncnn_job(kernel)
