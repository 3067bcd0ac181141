"""Trainings that several processes share, and the tables that they write their rows into."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from benchmarks.cifar.plan import RECIPE
from results.metrics import read_rows, write_rows
from search.cli import main as search
from search.trained_folder import Result, read_result

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


def train(
    network: Path, seed: int, data: str, out: Path, *, validation: float, precision: str = "32"
) -> Result:
    """What a network is worth after a full training, which goes on where it was left.

    Raises:
        SystemExit: the training was interrupted and can go on, or has failed.
    """
    torch.set_num_threads(1)
    asked = [*RECIPE, "--data", data, "--validation", str(validation), "--precision", precision]
    code = search(
        ["sweep", str(network), *asked, "--seeds", "1", "--seed", str(seed), "--out", str(out)]
    )
    result = read_result(out / network.stem / "as-it-is" / f"seed-{seed}")
    if code or result is None:
        raise SystemExit(code or 1)
    return result


@contextmanager
def claimed(job: Path) -> Iterator[bool]:
    """Whether a job is this process's until the block ends; the file itself says nothing."""
    job.parent.mkdir(parents=True, exist_ok=True)
    with job.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def rows_of(path: Path, kind: type[Row]) -> list[Row]:
    """The rows of a table, none where there is none."""
    return read_rows(path, kind) if path.is_file() else []


def add_row(out: Path, path: Path, row: Row) -> None:
    """Adds a row to a table that other processes, of the same ``out``, add theirs to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (out / f"{path.stem}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_rows(path, [*rows_of(path, type(row)), row])
