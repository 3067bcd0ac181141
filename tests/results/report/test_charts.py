"""The course, the importances, and all choices side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from results.importance import Importance
from results.report import Report
from results.report.charts import (
    BARS,
    MOST_COLUMNS,
    course_figure,
    importance_figure,
    parallel_figure,
    shown_dimensions,
)
from results.report.text import markdown
from results.trial import Proposal
from search_space.space import Dimension

ReportOf = Callable[..., Report]


def test_the_course_marks_what_raised_it(report: ReportOf) -> None:
    figure, marks = course_figure(report())
    (axes,) = figure.axes
    assert list(axes.lines[0].get_ydata()) == [100 * s for _, s in report().course]
    assert marks.groups["course-front"].keys == ["trial-0", "trial-1", "trial-3"]


def test_shares_beyond_chance_are_told_apart() -> None:
    shares = {f"stage{i}_depth": share for i, share in enumerate([0.5, 0.3, *[0.02] * 10], 1)}
    found = [
        Importance(objective=name, networks=20, shares=shares, chance=0.25)
        for name in ("accuracy", "latency_ms")
    ]
    figure, _ = importance_figure(found)
    assert len(figure.axes) == 2
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches][-2:] == [30.0, 50.0]
    assert len(axes.patches) == BARS
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert len(set(colours[-2:])) == 1
    assert colours[-1] != colours[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "stage 1 depth"
    assert "milliseconds" in figure.axes[1].get_xlabel()


def test_each_network_is_a_line_through_choices_costs_and_accuracy(report: ReportOf) -> None:
    made = report()
    _, marks = parallel_figure(made)
    assert set(marks.groups["parallel-front"].keys) == {"trial-0", "trial-1", "trial-3"}
    assert set(marks.groups["parallel-others"].keys) == {"trial-2", "trial-4"}
    group = marks.groups["parallel-front"]
    lines = dict(zip(group.keys, group.collection.get_segments(), strict=True))
    dimensions = shown_dimensions(made)
    assert [d.name for d in dimensions] == ["stage1_depth"], "nothing else varies"
    assert lines["trial-3"].shape == (len(dimensions) + 3, 2)
    assert lines["trial-3"][-1, 1] == 1.0, "the most accurate"
    assert lines["trial-3"][-2, 1] == 1.0, "the slowest"
    assert lines["trial-0"][-2, 1] == 0.0


def test_of_many_dimensions_those_that_decide_are_shown(report: ReportOf) -> None:
    names = [f"d{i}" for i in range(MOST_COLUMNS + 2)]
    dimensions = [Dimension(name=name, choices=(1, 2), ordered=True) for name in names]
    trials = [
        dataclasses.replace(
            t,
            proposal=Proposal(choices=dict.fromkeys(names, 1 + t.number % 2), spec=t.proposal.spec),
        )
        for t in report().trials
    ]
    made = report(trials=trials, dimensions=dimensions)
    assert [d.name for d in shown_dimensions(made)] == names[:MOST_COLUMNS]
    assert "Shown are, of 9 choices, the 7 that come first." in markdown(made, "figures", "")
    shares = {name: share for share, name in enumerate(names)}
    made.__dict__["importances"] = [
        Importance(objective="accuracy", networks=20, shares=shares, chance=0.0)
    ]
    assert [d.name for d in shown_dimensions(made)] == names[2:]
    assert "Shown are, of 9 choices, the 7 that decide most." in markdown(made, "figures", "")


@pytest.mark.parametrize("count", [1, 2])
def test_few_networks_are_drawn(report: ReportOf, count: int) -> None:
    made = report(trials=report().trials[:count])
    for figure in (course_figure, parallel_figure):
        _, marks = figure(made)
        assert [len(group.keys) for group in marks.groups.values()] == [count]
    heights = parallel_figure(made)[1].groups["parallel-front"].collection.get_segments()
    assert np.isfinite(np.array(heights)).all()
