"""The other figures of a search: its course, what decides, and all choices side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from results.figures import COLOURS, GREY, LIGHT, MUTED, new_figure, tidy
from results.importance import Importance
from results.report.data import Report, trial_key
from results.report.marks import Marks, mark_lines, mark_points
from results.trial import Trial
from search_space.budget import format_count
from search_space.space import Dimension

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCENT = COLOURS[0]
BARS = 10
"""So many dimensions are shown of each importance."""
MOST_COLUMNS = 7
"""So many dimensions stand side by side, before the objectives."""
MOST_TICKS = 7
"""Of more choices every second or third is written on an axis."""
SPREAD = 0.05
"""Networks of equal choices are spread over this share of the axis, the most accurate on top."""
OBJECTIVES = {"accuracy": "accuracy", "latency_ms": "milliseconds"}


def course_figure(report: Report) -> tuple[Figure, Marks]:
    """The hypervolume after each contender, those marked that raised it."""
    from matplotlib.ticker import MaxNLocator

    figure, marks = new_figure(width_in=9.0, height_in=3.1), Marks()
    axes = figure.add_subplot()
    tidy(axes)
    number = [n for n, _ in report.course]
    share = [100 * s for _, s in report.course]
    axes.step(number, share, where="post", color=ACCENT, linewidth=1.6)
    before = [0.0, *share]
    rises = [(n, s) for n, s, least in zip(number, share, before, strict=False) if s > least]
    keys = [trial_key(int(n)) for n, _ in rises]
    mark_points(axes, marks, "course-front", rises, keys, colour=ACCENT, size=34)
    axes.set_ylim(0, max(share) * 1.12 or 1)
    axes.set_xlabel("network")
    axes.set_ylabel("hypervolume (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, marks


def importance_figure(found: Sequence[Importance]) -> tuple[Figure, Marks]:
    """Per objective the dimensions of the largest shares, each alone; a line where chance ends."""
    figure = new_figure(width_in=9.0, height_in=3.4)
    for number, one in enumerate(found, 1):
        axes = figure.add_subplot(1, len(found), number)
        tidy(axes)
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        names = list(one.shares)[:BARS][::-1]
        shares = [100 * one.shares[name] for name in names]
        colours = [ACCENT if share > 100 * one.chance else MUTED for share in shares]
        axes.barh([_spaced(name, " ") for name in names], shares, height=0.62, color=colours)
        axes.axvline(100 * one.chance, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)))
        axes.annotate(
            "chance",
            (100 * one.chance, 0),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=GREY,
            size=9,
        )
        axes.tick_params(axis="y", length=0, labelcolor="black")
        axes.set_xlabel(f"share of the variance of {OBJECTIVES[one.objective]} (%)")
    return figure, Marks()


def parallel_figure(report: Report) -> tuple[Figure, Marks]:
    """A line per contender through its choices, its costs and its accuracy, those of the front in
    colour; of many dimensions those that decide the objectives most."""
    figure, marks = new_figure(width_in=9.0, height_in=4.6), Marks()
    axes = figure.add_subplot()
    axes.set_axis_off()
    dimensions = shown_dimensions(report)
    ranked = sorted(report.contenders, key=lambda t: (t.objectives[0], t.number))
    columns = [_choice_column(axes, i, d, ranked) for i, d in enumerate(dimensions)]
    columns += [
        _number_column(axes, len(dimensions) + i, name, values, text)
        for i, (name, values, text) in enumerate(_figures(ranked))
    ]
    heights = np.array(columns).T
    front = {trial.number for trial in report.front}
    for name, chosen, colour, width in (
        ("others", [t.number not in front for t in ranked], MUTED, 0.8),
        ("front", [t.number in front for t in ranked], ACCENT, 1.8),
    ):
        lines = [
            np.stack([np.arange(len(columns)), row], axis=1)
            for row, keep in zip(heights, chosen, strict=True)
            if keep
        ]
        keys = [trial_key(t.number) for t, keep in zip(ranked, chosen, strict=True) if keep]
        mark_lines(axes, marks, f"parallel-{name}", lines, keys, colour=colour, width=width)
    axes.set_xlim(-0.35, len(columns) - 0.65)
    axes.set_ylim(-0.12, 1.16)
    return figure, marks


def shown_dimensions(report: Report) -> list[Dimension]:
    """Those of the largest share in either objective, in the order of the space; without shares
    the first of those that vary."""
    used = report.varied
    largest = {
        d.name: max((one.shares.get(d.name, 0.0) for one in report.importances), default=0.0)
        for d in used
    }
    chosen = sorted(used, key=lambda d: -largest[d.name])[:MOST_COLUMNS]
    return [d for d in used if d in chosen]


def _choice_column(
    axes: Axes, at: int, dimension: Dimension, ranked: Sequence[Trial]
) -> list[float]:
    """Draws an axis of choices; returns where each network crosses it."""
    steps = max(len(dimension.choices) - 1, 1)
    places = {c: i / steps for i, c in enumerate(dimension.choices)}
    _axis(axes, at, _spaced(dimension.name), {str(c): y for c, y in places.items()})
    found = [places[trial.proposal.choices[dimension.name]] for trial in ranked]
    return [y + SPREAD * (i / len(found) - 0.5) for i, y in enumerate(found)]


def _number_column(
    axes: Axes, at: int, name: str, values: Sequence[float], ticks: Mapping[str, float]
) -> list[float]:
    low, high = min(values), max(values)
    span = high - low or 1.0
    _axis(axes, at, name, {text: (value - low) / span for text, value in ticks.items()})
    return [(value - low) / span for value in values]


def _figures(
    ranked: Sequence[Trial],
) -> list[tuple[str, list[float], dict[str, float]]]:
    """MACs, milliseconds and accuracy, with the least and the largest of each in words."""
    macs = [float(t.estimate.macs) for t in ranked]
    ms = [t.estimate.latency_ms for t in ranked]
    accuracy = [t.objectives[0] for t in ranked]
    return [
        ("MACs", macs, {format_count(v): v for v in (min(macs), max(macs))}),
        ("ms", ms, {f"{v:.1f}": v for v in (min(ms), max(ms))}),
        ("accuracy", accuracy, {f"{v:.1%}": v for v in (min(accuracy), max(accuracy))}),
    ]


def _axis(axes: Axes, at: int, name: str, ticks: Mapping[str, float]) -> None:
    axes.plot([at, at], [0, 1], color=LIGHT, linewidth=1.2, zorder=1)
    axes.text(at, 1.08, name, ha="center", va="bottom", size=8.5, parse_math=False)
    for text, y in list(ticks.items())[:: math.ceil(len(ticks) / MOST_TICKS)]:
        axes.text(
            at - 0.06,
            y,
            text,
            ha="right",
            va="center",
            color=GREY,
            size=8,
            zorder=5,
            # Lines pass behind it.
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
            parse_math=False,
        )


def _spaced(name: str, between: str = "\n") -> str:
    """``stage1_growth_rate`` in two lines, or with something else between them."""
    stage, _, rest = name.partition("_")
    if stage.startswith("stage") and rest:
        return f"stage {stage.removeprefix('stage')}{between}{rest.replace('_', ' ')}"
    return name.replace("_", " ")
