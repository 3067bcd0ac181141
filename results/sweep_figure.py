"""The figure of a sweep: error against multiply-adds or parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from results.figures import COLOURS, label_points, new_figure, save_png, tidy
from results.sweep import LABEL, SweepRow, summary_frame, sweep_frame
from search_space.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CostName = Literal["macs", "params"]

NAMES: dict[CostName, str] = {"macs": "multiply-adds", "params": "parameters"}
MARKERS = "osD^vP"
LOG_FROM = 4
"""Costs that span more than this factor stand on a logarithmic axis."""

BESIDE = 0.012
"""How far points of equal cost stand apart, as a share of the axis."""


def draw_sweep(rows: Sequence[SweepRow], path: Path, *, x: CostName = "macs") -> None:
    """Writes :func:`sweep_figure` as a PNG file."""
    save_png(sweep_figure(rows, x=x), path)


def sweep_figure(rows: Sequence[SweepRow], *, x: CostName = "macs") -> Figure:
    """Top-1 error by cost in millions: a line per variation, a point per value.

    Points are means over the seeds, bars their standard deviations, small dots the seeds; a point
    of a single seed has neither. Points of equal cost stand side by side.

    Raises:
        UserError: there are no rows, or rows of both the test and the validation part.
    """
    splits = sorted({row.split for row in rows})
    if len(splits) != 1:
        found = " and ".join(splits) or "none"
        raise UserError(f"a plot needs rows of one part of the data set; found: {found}")
    figure = new_figure(width_in=6.0, height_in=4.2)
    axes = figure.add_subplot()
    tidy(axes)
    means = _beside(summary_frame(rows).sort_values(x, kind="stable"), x)
    variations = list(dict.fromkeys(row.variation for row in rows))
    styles = {name: _style(number) for number, name in enumerate(variations)}
    seeds = sweep_frame(rows).merge(means[[*LABEL, "seeds", "at"]], on=LABEL)
    for name in variations:
        _draw(axes, means[means["variation"] == name], x, styles[name])
        _draw_seeds(axes, seeds[seeds["variation"] == name], styles[name][0])
    _scale(axes, means[x] / 1e6)
    axes.set_xlabel(f"{NAMES[x]} (millions)")
    axes.set_ylabel(f"{splits[0]} error (%)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)
    points = means[["at", "error_percent"]].to_numpy()
    colours = [styles[name][0] for name in means["variation"]]
    label_points(axes, points, list(means["value"]), colours)
    return figure


def _style(number: int) -> tuple[str, str]:
    """Colour and marker of a variation."""
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def _beside(means: pd.DataFrame, x: CostName) -> pd.DataFrame:
    """Adds ``at``, where each point stands: at its cost, those of equal cost side by side."""
    groups = means.groupby(x)["value"]
    place = groups.cumcount() - (groups.transform("size") - 1) / 2
    low, high = means[x].min(), means[x].max()
    if high > LOG_FROM * low:
        at = means[x] * (high / low) ** (BESIDE * place)
    else:
        at = means[x] + BESIDE * place * (high - low or low)
    return means.assign(at=at / 1e6)


def _draw(axes: Axes, means: pd.DataFrame, x: CostName, style: tuple[str, str]) -> None:
    """The points of a variation with their bars, joined where their costs differ."""
    colour, marker = style
    axes.errorbar(
        means["at"],
        means["error_percent"],
        yerr=means["sd_percent"].fillna(0),
        label=means["variation"].iloc[0],
        color=colour,
        marker=marker,
        markersize=6,
        markeredgecolor="white",
        linestyle="-" if means[x].nunique() > 1 else "none",
        linewidth=1.5,
        elinewidth=1.2,
        capsize=3,
        zorder=3,
    )


def _draw_seeds(axes: Axes, seeds: pd.DataFrame, colour: str) -> None:
    """A small dot for each of several seeds."""
    several = seeds[seeds["seeds"] > 1]
    errors = 100 * (1 - several["top1"])
    axes.scatter(several["at"], errors, s=12, color=colour, alpha=0.4, linewidths=0, zorder=2)


def _scale(axes: Axes, millions: pd.Series[float]) -> None:
    """A logarithmic axis where the costs span much; room around all points."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.margins(x=0.1, y=0.12)
    if millions.nunique() == 1:
        axes.set_xticks([millions.iloc[0]])
    elif millions.max() > LOG_FROM * millions.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
