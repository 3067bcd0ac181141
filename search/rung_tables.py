"""How the rungs of a search are shown, at its end and by ``search status``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from results.rungs import (
    LEAST_PAIRS,
    RUNG_HEADER,
    RankCorrelation,
    correlate_rungs,
    count_rungs,
    rung_rows,
)
from results.trial import Trial, contenders
from search_space.budget import counted
from searchers.rungs import Halving


def rungs_json(halving: Halving, trials: Sequence[Trial]) -> dict[str, Any]:
    """Counts of the rungs in which a trial has been scored, and how alike they order trials."""
    # The last rungs may have no trial yet.
    rows = zip(count_rungs(trials), halving.rungs, strict=False)
    return {
        "keep": halving.keep,
        "rungs": [{**asdict(count), **asdict(rung)} for count, rung in rows],
        "rank_correlation": [asdict(found) for found in correlate_rungs(trials)],
    }


def rungs_table(console: Console, halving: Halving, trials: Sequence[Trial]) -> None:
    """The same for people."""
    table = Table(title=f"Rungs: of each, one network in {halving.keep} goes on")
    for name in RUNG_HEADER:
        table.add_column(name, justify="left" if name == "training" else "right")
    for row in rung_rows(count_rungs(trials), [str(rung) for rung in halving.rungs]):
        table.add_row(*row)
    console.print(table)
    lines = [_correlation(found) for found in correlate_rungs(trials)]
    if not lines:
        lines = ["Rank correlation between rungs: no network has been scored in two yet"]
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def _correlation(found: RankCorrelation) -> str:
    between = f"Rank correlation of rungs {found.lower} and {found.lower + 1}:"
    scored = f"{counted(found.trials, 'network')} scored in both"
    if found.trials < LEAST_PAIRS:
        return f"{between} needs {LEAST_PAIRS} networks; {scored}"
    if found.spearman is None:
        return f"{between} none, as all accuracies of one are equal; {scored}"
    return f"{between} Spearman {found.spearman:.2f}, Kendall {found.kendall:.2f}; {scored}"


def compared(halving: Halving, trials: Sequence[Trial]) -> str:
    """Which networks stand on the Pareto front; empty where none is scored."""
    among = contenders(trials)
    if not among:
        return ""
    number = len(among[0].rungs)
    return (
        f"Compared are only the {counted(len(among), 'network')} of the highest rung reached,"
        f" {number} of {len(halving.rungs)} ({halving.rungs[number - 1]}): accuracies of different"
        " rungs do not compare"
    )
