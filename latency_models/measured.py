"""A table of times measured on one board, as ``bench.py`` of the kit writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latency_models.devices import Device
from latency_models.layer_table import read_rows, times_of
from search_space.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The milliseconds of some networks, with the runtime and threads that all of them share."""

    ms: Mapping[str, float]
    runtime: str
    threads: int
    core: str


def read_measured(
    path: Path, base: Device, *, runtime: str | None = None, threads: int | None = None
) -> Measured:
    """The times in a table with the columns ``network`` and ``ms``, and what else it tells.

    Where it has rows of several runtimes or numbers of threads, those of the base are read unless
    others are named.

    Raises:
        UserError: the table cannot be read, lacks such rows, or a time is none.
    """
    rows = read_rows(path, ("network", "ms"))
    rows, runtime = _chosen(rows, "runtime", runtime, base.runtime, path)
    rows, count = _chosen(rows, "threads", threads, base.threads, path)
    if not count.isdecimal() or int(count) < 1:
        raise UserError(f"{path}: `threads` (={count!r}) must be a whole number above 0")
    times = times_of(rows, "ms", named="network")
    if not times:
        raise UserError(f"{path} holds no time; write a network and its milliseconds in each row")
    cores = sorted({row["machine"] for row in rows if row.get("machine")})
    return Measured(
        ms=times, runtime=runtime, threads=int(count), core="; ".join(cores) or "not told"
    )


def _chosen(
    rows: Sequence[dict[str, str]], column: str, wanted: object, usual: object, path: Path
) -> tuple[list[dict[str, str]], str]:
    """The rows with one value in a column, and the value: that wanted, else the only one, else
    the usual. Rows without a value are of any.
    """
    known = sorted({row[column] for row in rows if row.get(column)})
    value = str(usual if wanted is None else wanted)
    if wanted is None and len(known) == 1:
        value = known[0]
    if known and value not in known:
        raise UserError(
            f"{path} has no row of {column} {value}, but of {', '.join(known)}; name one by"
            f" --{column}"
        )
    return [row for row in rows if (row.get(column) or value) == value], value
