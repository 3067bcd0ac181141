"""Trainings of the same networks with several seeds: their records and what they sum up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from results.folder import write_atomically
from results.markdown import markdown_table
from results.metrics import columns, write_rows
from search_space import format_count
from search_space.errors import UserError

SWEEP, SUMMARY = "sweep.csv", "summary.csv"
FIGURES: dict[Literal["macs", "params"], str] = {
    "macs": "error-macs.png",
    "params": "error-params.png",
}
"""Figures of the error by what they are drawn against."""
FILES = (SWEEP, SUMMARY, *FIGURES.values())
"""What a sweep writes beside the folders of its trainings."""


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One training of a sweep.

    Args:
        network: What was trained.
        variation: What is varied, such as ``groups``: one line of a plot.
        value: Of the variation, such as ``4``: one point of that line.
        seed: Of the training.
        macs: Multiply-adds of the condensed network.
        params: Its parameters.
        top1: The share of the images whose class is the first that the network names.
        top5: Or among the first five.
        loss: Mean cross-entropy.
        epochs: Of the training.
        wall_s: Seconds that it took.
        split: The images that ``top1``, ``top5`` and ``loss`` are of.
    """

    network: str
    variation: str
    value: str
    seed: int
    macs: int
    params: int
    top1: float
    top5: float
    loss: float
    epochs: int
    wall_s: float
    split: Literal["test", "validation"]


LABEL = ["network", "variation", "value", "split", "epochs", "macs", "params"]
"""The columns that trainings of one label share: all but the seed and what came of it."""


def sweep_frame(rows: Sequence[SweepRow]) -> pd.DataFrame:
    """One row per training: the fields of :class:`SweepRow`."""
    return pd.DataFrame([asdict(row) for row in rows], columns=columns(SweepRow))


def summary_frame(rows: Sequence[SweepRow]) -> pd.DataFrame:
    """One row per label, in the order in which they first appear.

    Columns: those of :data:`LABEL`; ``seeds``, their number; ``error_percent``, the mean top-1
    error; ``sd_percent``, its standard deviation with ``n - 1``, NaN for a single seed.

    Raises:
        UserError: a seed appears twice under one label.
    """
    frame = sweep_frame(rows)
    twice = frame[frame.duplicated([*LABEL, "seed"])]
    if len(twice):
        again = twice.iloc[0]
        raise UserError(
            f"seed {again['seed']} of {again['network']}, {again['variation']} {again['value']},"
            " appears twice in the sweep; remove one of the two rows"
        )
    frame["error_percent"] = 100 * (1 - frame["top1"])
    return frame.groupby(LABEL, sort=False, as_index=False).agg(
        seeds=("seed", "count"),
        error_percent=("error_percent", "mean"),
        sd_percent=("error_percent", "std"),
    )


def write_sweep(rows: Sequence[SweepRow], folder: Path) -> None:
    """Writes ``sweep.csv``, which ``read_rows`` reads back, and ``summary.csv``."""
    summary = summary_frame(rows).to_csv(index=False)
    write_rows(folder / SWEEP, rows)
    write_atomically(folder / SUMMARY, summary)


def summary_markdown(rows: Sequence[SweepRow]) -> str:
    """The summary as a Markdown table; raises what :func:`summary_frame` raises."""
    head = ("network", "variation", "value", "MACs", "parameters", "error (%)", "seeds", "epochs")
    lines: list[tuple[str, ...]] = []
    for _, row in summary_frame(rows).iterrows():
        spread = "" if pd.isna(row["sd_percent"]) else f" ± {row['sd_percent']:.2f}"
        words = (row[name] for name in ("network", "variation", "value"))
        counts = (format_count(row[name]) for name in ("macs", "params"))
        error = f"{row['error_percent']:.2f}{spread}"
        lines.append((*words, *counts, error, str(row["seeds"]), str(row["epochs"])))
    return markdown_table(head, lines, align="lllrrrrr") + "\n"
