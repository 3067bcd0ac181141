"""Trainings that several processes share, and the tables that they write their rows into."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

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


LOCKS = ".locks"
"""The folder of the locks beside a table, so that all who write into it see the same ones."""


@contextmanager
def claimed(table: Path, job: str) -> Iterator[bool]:
    """Whether a job, whose rows go into a table, is this process's until the block ends."""
    with lock_of(table, job) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def lock_of(table: Path, name: str) -> IO[str]:
    """An open file that says nothing, to be locked."""
    folder = table.parent / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"{table.stem}-{name}").open("w")


def rows_of(path: Path, kind: type[Row]) -> list[Row]:
    """The rows of a table, none where there is none."""
    return read_rows(path, kind) if path.is_file() else []


def add_row(path: Path, row: Row) -> None:
    """Adds a row to a table that other processes add theirs to."""
    with lock_of(path, "rows") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_rows(path, [*rows_of(path, type(row)), row])
