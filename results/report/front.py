"""The front of a search: accuracy against milliseconds, and against multiply-adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from results.figures import COLOURS, GREY, MUTED, label_points, new_figure, tidy
from results.report.data import Reference, Report, trial_key
from results.report.marks import Marks, mark_points
from results.trial import Estimate, Trial
from search_space.budget import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CostName = Literal["latency_ms", "macs"]
ACCENT = COLOURS[0]
LOG_FROM = 6.0
"""Costs that span more than this factor stand on a logarithmic axis."""
LEAST_REFERENCES = 5
"""The axis reaches so many networks of the papers where they are not ``FARTHEST`` away."""
FARTHEST = 8.0
APART_POINTS = 24.0
"""What labels of references keep from each other along the axis."""
MOST_LABELS = 8
"""On fronts of more networks only the ends are labelled."""


@dataclass(frozen=True, kw_only=True)
class CostAxis:
    """A cost: how it is read, called and written, what it is limited to, and the ends of what
    is drawn of networks."""

    of: Callable[[Estimate | Reference], float]
    label: str
    shown: Callable[[float], str]
    limit: float | None
    ends: tuple[float, float]


def cost_axis(report: Report, cost: CostName) -> CostAxis:
    """One of the two costs, in its unit."""
    estimates = [t.estimate for t in report.contenders]
    if cost == "macs":
        return CostAxis(
            of=lambda priced: priced.macs / 1e6,
            label="multiply-adds (millions)",
            shown=lambda millions: f"{format_count(1e6 * millions)} MACs",
            limit=None if report.macs_limit is None else report.macs_limit / 1e6,
            ends=(min(e.macs for e in estimates) / 1e6, max(e.macs for e in estimates) / 1e6),
        )
    intervals = [(t.estimate.latency_low_ms, t.estimate.latency_high_ms) for t in report.front]
    drawn = [*(e.latency_ms for e in estimates), *chain(*intervals)]
    return CostAxis(
        of=lambda priced: priced.latency_ms,
        label=f"predicted milliseconds on {report.device}",
        shown=lambda ms: f"{ms:g} ms",
        limit=report.latency_limit_ms,
        ends=(min(drawn), max(drawn)),
    )


def front_figure(report: Report, cost: CostName) -> tuple[Figure, Marks]:
    """Every contender as a dot, the Pareto front in colour with its intervals, the limit, and the
    networks of the papers: at their printed accuracy where it is of this data set, else as lines
    at their cost.

    The front is that of accuracy and milliseconds, on both axes.
    """
    axis, marks = cost_axis(report, cost), Marks()
    figure = new_figure(width_in=9.0, height_in=5.0)
    axes = figure.add_subplot()
    tidy(axes)
    front = {trial.number for trial in report.front}
    others = [t for t in report.contenders if t.number not in front]
    inside = _reach(axes, report, axis)
    _intervals(axes, report, axis, cost)
    if cost == "latency_ms":
        steps = np.array([(axis.of(t.estimate), 100 * t.objectives[0]) for t in report.front])
        axes.plot(*steps.T, drawstyle="steps-post", color=ACCENT, linewidth=1.4, zorder=3)
    for trials, colour, size, name in (
        (others, MUTED, 26, "others"),
        (report.front, ACCENT, 52, "front"),
    ):
        points = [(axis.of(t.estimate), 100 * t.objectives[0]) for t in trials]
        keys = [trial_key(t.number) for t in trials]
        mark_points(axes, marks, f"{cost}-{name}", points, keys, colour=colour, size=size)
    _limit(axes, axis)
    axes.set_xlabel(axis.label, parse_math=False)
    axes.set_ylabel("accuracy of the short training (%)")
    _references(axes, inside, axis, cost, marks)
    _labels(axes, report.front, axis)
    return figure, marks


def _reach(axes: Axes, report: Report, axis: CostAxis) -> list[Reference]:
    """Sets the cost axis; returns the networks of the papers on it."""
    least, most = axis.ends
    most = max(most, axis.limit or 0)
    above = sorted(c for c in map(axis.of, report.references) if c > most)
    wanted = max(LEAST_REFERENCES - (len(report.references) - len(above)), 0)
    most = max([most, *(c for c in above[:wanted] if c < FARTHEST * most)])
    if most > LOG_FROM * least:
        axes.set_xscale("log")
        _plain_ticks(axes)
        axes.set_xlim(least / 1.15, most * 1.12)
    else:
        axes.set_xlim(0, most * 1.06)
    low, high = axes.get_xlim()
    return [r for r in report.references if low < axis.of(r) < high]


def _plain_ticks(axes: Axes) -> None:
    """Numbers as people write them on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _intervals(axes: Axes, report: Report, axis: CostAxis, cost: CostName) -> None:
    """Of the networks on the front: predicted milliseconds, and accuracies on other images."""
    for trial in report.front:
        x, y = axis.of(trial.estimate), 100 * trial.objectives[0]
        style: dict[str, Any] = {"color": ACCENT, "linewidth": 1.0, "alpha": 0.45, "zorder": 2}
        if cost == "latency_ms":
            low, high = trial.estimate.latency_low_ms, trial.estimate.latency_high_ms
            axes.plot([low, high], [y, y], **style)
        found = report.accuracy_interval(trial)
        if found is not None:
            axes.plot([x, x], [100 * found[0], 100 * found[1]], **style)


def _limit(axes: Axes, axis: CostAxis) -> None:
    if axis.limit is None:
        return
    axes.axvline(axis.limit, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
    _slanted(axes, axis.limit, f"limit {axis.shown(axis.limit)}", weight="bold")


def _slanted(axes: Axes, at: float, text: str, **style: Any) -> None:
    """A label above the axes."""
    axes.annotate(
        text,
        (at, 1),
        (1, 9),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        rotation=38,
        rotation_mode="anchor",
        color=GREY,
        size=8.5,
        parse_math=False,
        **style,
    )


def _references(
    axes: Axes, inside: Sequence[Reference], axis: CostAxis, cost: CostName, marks: Marks
) -> None:
    """A line at the cost of each, with its name above where there is room; or an open diamond."""
    known = [r for r in inside if r.accuracy is not None]
    unknown = [r for r in inside if r.accuracy is None]
    points = [(axis.of(r), 100 * (r.accuracy or 0.0)) for r in known]
    keys = [f"reference-{r.name}" for r in known]
    mark_points(axes, marks, f"{cost}-printed", points, keys, colour=GREY, size=40, hollow=True)
    labelled = _spread(axes, unknown, axis)
    for one in labelled:
        axes.axvline(axis.of(one), color=MUTED, linewidth=0.8, linestyle=(0, (1, 2.5)), zorder=1)
        _slanted(axes, axis.of(one), one.name)
    keys = [f"reference-{r.name}" for r in unknown]
    top = [(axis.of(r), 1.0) for r in unknown]
    mark_points(axes, marks, f"{cost}-papers", top, keys, colour=GREY, size=16, on_top=True)


def _spread(axes: Axes, references: Sequence[Reference], axis: CostAxis) -> list[Reference]:
    """Those that can be labelled without touching the limit or one that comes before."""

    def points(cost: float) -> float:
        figure = axes.get_figure(root=True)
        assert figure is not None
        return 72 / figure.dpi * float(axes.transData.transform((cost, 0))[0])

    taken = [] if axis.limit is None else [points(axis.limit)]
    found = []
    for one in references:
        at = points(axis.of(one))
        if all(abs(at - other) >= APART_POINTS for other in taken):
            taken.append(at)
            found.append(one)
    return found


def _labels(axes: Axes, front: Sequence[Trial], axis: CostAxis) -> None:
    """Numbers of the networks on the front."""
    chosen = list(front) if len(front) <= MOST_LABELS else [front[0], front[-1]]
    points = np.array([(axis.of(t.estimate), 100 * t.objectives[0]) for t in chosen])
    texts = [f"{t.number}" for t in chosen]
    label_points(axes, points, texts, [ACCENT] * len(chosen))
