"""The front as it is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from results.report import Reference, Report
from results.report.front import front_figure

ReportOf = Callable[..., Report]


def drawn(figure: Any, marks: Any, name: str) -> dict[str, list[float]]:
    """Where each mark of a group stands, by its key."""
    group = marks.groups[name]
    return {
        key: list(place)
        for key, place in zip(group.keys, group.collection.get_offsets(), strict=True)
    }


def texts(axes: Any) -> set[str]:
    return {text.get_text() for text in axes.texts}


def test_every_contender_is_a_dot_and_the_front_is_told_apart(report: ReportOf) -> None:
    figure, marks = front_figure(report(), "latency_ms")
    assert drawn(figure, marks, "latency_ms-front") == {
        "trial-0": [10.0, 40.0],
        "trial-1": [14.0, 80.0],
        "trial-3": [30.0, 90.0],
    }
    assert set(drawn(figure, marks, "latency_ms-others")) == {"trial-2", "trial-4"}
    (axes,) = figure.axes
    assert {"0", "1", "3"} <= texts(axes)
    assert "board/ncnn/1" in axes.get_xlabel()


def test_multiply_adds_are_in_millions(report: ReportOf) -> None:
    figure, marks = front_figure(report(), "macs")
    assert drawn(figure, marks, "macs-front")["trial-3"] == pytest.approx([1.234567, 90.0])
    assert "limit 2.00M MACs" in texts(figure.axes[0])


def test_intervals_are_drawn_and_inside_the_axes(report: ReportOf) -> None:
    made = report()
    (axes,) = front_figure(made, "latency_ms")[0].axes
    lines = [np.array(line.get_xydata()).tolist() for line in axes.lines]
    assert [[24.0, 90.0], [36.0, 90.0]] in lines, "milliseconds of network 3"
    low, high = made.accuracy_interval(made.best) or (0.0, 0.0)
    assert [[30.0, pytest.approx(100 * low)], [30.0, pytest.approx(100 * high)]] in lines
    assert axes.get_xlim()[0] < 8.0, "the fastest one's"


def test_networks_of_the_papers_are_at_their_cost_and_at_no_accuracy(report: ReportOf) -> None:
    figure, marks = front_figure(report(), "latency_ms")
    (axes,) = figure.axes
    assert drawn(figure, marks, "latency_ms-papers") == {
        "reference-condensenet-50": [25.0, 1.0],
        "reference-sparsenet-40-k12": [36.0, 1.0],
    }
    group = marks.groups["latency_ms-papers"].collection
    top = axes.transAxes.transform((0, 1))[1]
    places = group.get_offset_transform().transform(group.get_offsets())
    assert list(places[:, 1]) == pytest.approx([top, top]), "on the edge, whatever the accuracies"
    upright = [line for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    assert {line.get_xdata()[0] for line in upright} == {25.0, 36.0, 40.0}
    assert {"condensenet-50", "sparsenet-40-k12", "limit 40 ms"} <= texts(axes)
    assert "latency_ms-printed" not in marks.groups


def test_accuracies_printed_for_this_data_set_are_points(report: ReportOf) -> None:
    known: list[Reference] = [
        dataclasses.replace(one, accuracy=0.95) for one in report().references
    ]
    figure, marks = front_figure(report(references=known), "latency_ms")
    assert drawn(figure, marks, "latency_ms-printed")["reference-condensenet-50"] == [25.0, 95.0]
    assert "latency_ms-papers" not in marks.groups


def test_names_that_would_touch_are_left_out(report: ReportOf) -> None:
    first = report().references[0]
    close = [dataclasses.replace(first, name=f"n{i}", latency_ms=25 + i / 10) for i in range(9)]
    figure, marks = front_figure(report(references=close), "latency_ms")
    assert len(drawn(figure, marks, "latency_ms-papers")) == 9
    assert texts(figure.axes[0]) & {one.name for one in close} == {"n0"}


def test_costs_that_span_much_are_on_a_logarithmic_axis(report: ReportOf) -> None:
    assert front_figure(report(), "latency_ms")[0].axes[0].get_xscale() == "linear"
    wide = front_figure(report(latency_limit_ms=400.0), "latency_ms")[0].axes[0]
    assert wide.get_xscale() == "log"
    assert wide.get_xlim()[1] > 400


@pytest.mark.parametrize("cost", ["latency_ms", "macs"])
def test_one_network_without_limits_is_drawn(report: ReportOf, cost: Any) -> None:
    made = report(trials=report().trials[:1], macs_limit=None, latency_limit_ms=None, references=[])
    figure, marks = front_figure(made, cost)
    assert list(drawn(figure, marks, f"{cost}-front")) == ["trial-0"]
    assert f"{cost}-others" not in marks.groups
