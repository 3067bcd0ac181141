"""Counts the designed kernels under emulation, and the tables that hold the counts."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from latency_models.counting.builds import RuntimeBuild
from latency_models.counting.ncnn_jobs import Job, ncnn_job
from latency_models.counting.onnx_jobs import nothing_job, onnx_job
from latency_models.emulator import Counts, Emulator
from latency_models.kernels import Kernel
from search_space.errors import UserError

GUEST = Path(__file__).parent / "guest.py"
JOBS = "jobs.json"
Counted = tuple[Kernel, Counts]


def run_jobs(jobs: Sequence[Job], build: RuntimeBuild, emulator: Emulator) -> list[Counts]:
    """The counts of every stage of every job, in order.

    Raises:
        UserError: the runtime refuses a job.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(GUEST, folder)
        (folder / JOBS).write_text(json.dumps(jobs), encoding="utf-8")
        arguments = (build.runtime, JOBS, build.precision)
        marks = emulator.run(Path(GUEST.name), *arguments, core=build.core, folder=folder)
    counts = [counted for _, counted in marks]
    triples = zip(counts[0::3], counts[1::3], counts[2::3], strict=True)
    return [(after - before) - (idle - after) for before, after, idle in triples]


def count_kernels(
    kernels: Sequence[Kernel], build: RuntimeBuild, emulator: Emulator
) -> list[Counts]:
    """What each kernel costs by itself, its weights not in the caches, what it reads just written.

    Raises:
        UserError: the runtime refuses one.
    """
    if build.runtime == "ncnn":
        return run_jobs([ncnn_job(kernel) for kernel in kernels], build, emulator)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = [nothing_job(folder / "nothing.onnx")]
        jobs += [onnx_job(kernel, folder / f"{i}.onnx") for i, kernel in enumerate(kernels)]
        return run_jobs(jobs, build, emulator)


# --- Tables -----------------------------------------------------------------------------------

_KERNEL = [f.name for f in fields(Kernel)]
_COUNTS = [f.name for f in fields(Counts)]
_TEXT = ("kind", "function")


def write_table(counted: Iterable[Counted], path: Path) -> None:
    """One row per kernel: its fields, then its counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*_KERNEL, *_COUNTS], lineterminator="\n")
        writer.writeheader()
        for kernel, counts in counted:
            writer.writerow({**asdict(kernel), **asdict(counts)})


def read_table(path: Path) -> list[Counted]:
    """What :func:`write_table` wrote.

    Raises:
        UserError: the table cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_row(row) for row in csv.DictReader(file)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"table of counts {path}: cannot be read ({error!r}); measure it anew with --arm"
        ) from None


def _row(row: Mapping[str, str]) -> Counted:
    kernel: dict[str, Any] = {
        name: row[name] if name in _TEXT else int(row[name]) for name in _KERNEL
    }
    return Kernel(**kernel), Counts(**{name: int(row[name]) for name in _COUNTS})
