"""The command ``list``: the runs below a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from search import arguments
from search_space.budget import counted
from search_space.errors import UserError


def add_list(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search list``."""
    parser.add_argument(
        "folder",
        nargs="?",
        type=arguments.to_path,
        default=Path("runs"),
        metavar="FOLDER",
        help="looked through to any depth (default %(default)s)",
    )
    arguments.add_json(parser)


def list_runs(args: argparse.Namespace) -> int:
    """Lists the runs below a folder: space, limits, trials by state, the best, last written."""
    from results.storage import quiet_optuna

    if not args.folder.is_dir():
        raise UserError(
            f"{args.folder} is no folder: name one below which `search run` has written, or begin"
            " with `search run`"
        )
    quiet_optuna()
    rows = [_row(path) for path in run_folders(args.folder)]
    if args.json:
        arguments.print_json(rows)
        return 0
    _show(args.folder, rows)
    return 0


def run_folders(folder: Path) -> Iterator[Path]:
    """The folders of runs at and below a folder, by name; what is in a run is not looked at."""
    from results.folder import POINTER

    for here, below, files in os.walk(folder):
        below.sort()
        if POINTER in files:
            below.clear()
            yield Path(here)


def _row(path: Path) -> dict[str, Any]:
    """What is known of a run; of one that cannot be read, why."""
    # Before it is opened, which may touch files of the storage.
    row: dict[str, Any] = {"run": str(path), "last_written": _last_written(path)}
    try:
        return {**row, **_study(path)}
    except UserError as error:
        return {**row, "error": str(error)}


def _last_written(path: Path) -> str:
    """When a file in the folder itself was, in local time."""
    times = [entry.stat().st_mtime for entry in os.scandir(path) if entry.is_file()]
    return datetime.fromtimestamp(max(times)).astimezone().isoformat(timespec="seconds")


def _study(path: Path) -> dict[str, Any]:
    from results.folder import RunFolder
    from search.config import RunConfig
    from search.tables import study_json

    folder = RunFolder.open(path)
    study = folder.study()
    config = RunConfig.from_settings(study.settings)
    found = study_json(folder, study.name, study.trials(), study.rejected)
    return {
        "space": config.space.name,
        "limits": str(config.limits),
        "data": config.data,
        "trials": config.trials,
        **{name: found[name] for name in ("complete", "running", "failed", "best")},
    }


def _show(folder: Path, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    console = arguments.out()
    table = Table()
    for column in ("run", "space", "limits"):
        table.add_column(column, overflow="fold")
    for column in ("done", "running", "failed", "best", "last written"):
        table.add_column(column, justify="right")
    for row in rows:
        if "error" not in row:
            table.add_row(*_cells(row))
    if table.row_count:
        console.print(table)
    lines = [f"{row['run']} cannot be read: {row['error']}" for row in rows if "error" in row]
    lines.append(f"{counted(len(rows), 'run')} below {folder}")
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def _cells(row: dict[str, Any]) -> list[str]:
    best = row["best"]
    return [
        row["run"],
        row["space"],
        row["limits"],
        f"{row['complete']} of {row['trials']}",
        *(str(row[state]) for state in ("running", "failed")),
        f"{best['accuracy']:.1%}, {best['latency_ms']:.1f} ms" if best else "none yet",
        row["last_written"][:16].replace("T", " "),
    ]
