"""The figure of a sweep: its points, bars and dots; that it is drawn and can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from results.figures import COLOURS
from results.sweep import SweepRow
from results.sweep_figure import CostName, draw_sweep, sweep_figure
from search_space import UserError

Point = tuple[str, float, float]
"""Value, millions of multiply-adds, error in percent."""

SPREAD = [("1", 90.0, 5.2), ("2", 52.0, 5.4), ("4", 30.0, 5.9), ("8", 18.0, 6.9)]


def sweep(
    variation: str, points: list[Point], *, seeds: int = 3, split: str = "test"
) -> list[SweepRow]:
    """Trainings whose errors differ by half a percent from seed to seed."""
    return [
        SweepRow(
            network="condensenet-50",
            variation=variation,
            value=value,
            seed=seed,
            macs=round(macs * 1e6),
            params=round(macs * 1e4),
            top1=1 - (error + 0.5 * (seed - (seeds - 1) / 2)) / 100,
            top5=0.99,
            loss=0.3,
            epochs=300,
            wall_s=12.5,
            split="validation" if split == "validation" else "test",
        )
        for value, macs, error in points
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(("x", "factor"), [("macs", 1.0), ("params", 0.01)])
def test_points_are_means_and_bars_standard_deviations(x: CostName, factor: float) -> None:
    figure = sweep_figure(sweep("groups", SPREAD), x=x)
    (axes,) = figure.axes
    (bars,) = axes.containers
    line, _, (segments,) = bars.lines
    assert line.get_xdata() == pytest.approx([factor * v for v in (18, 30, 52, 90)])
    assert line.get_ydata() == pytest.approx([6.9, 5.9, 5.4, 5.2])
    halves = [np.ptp(segment[:, 1]) / 2 for segment in segments.get_segments()]
    assert halves == pytest.approx([0.5] * 4)
    dots = axes.collections[-1].get_offsets()
    assert len(dots) == 12
    assert sorted(set(np.round(dots[:, 1], 6))) == pytest.approx(
        [4.7, 4.9, 5.2, 5.4, 5.7, 5.9, 6.4, 6.9, 7.4]
    )
    assert [text.get_text() for text in axes.texts] == ["8", "4", "2", "1"]
    assert axes.get_xlabel() == {"macs": "multiply-adds", "params": "parameters"}[x] + " (millions)"
    assert axes.get_ylabel() == "test error (%)"


def test_a_single_seed_has_no_bar_and_no_dot() -> None:
    (axes,) = sweep_figure(sweep("groups", SPREAD, seeds=1, split="validation")).axes
    (bars,) = axes.containers
    (segments,) = bars.lines[2]
    assert all(np.ptp(segment[:, 1]) == 0 for segment in segments.get_segments())
    assert len(axes.collections[-1].get_offsets()) == 0
    assert axes.get_ylabel() == "validation error (%)"


@pytest.mark.parametrize(("largest", "scale"), [(71.0, "linear"), (73.0, "log")])
def test_costs_that_span_a_factor_four_stand_on_a_logarithmic_axis(
    largest: float, scale: str
) -> None:
    (axes,) = sweep_figure(sweep("groups", [("8", 18.0, 6.9), ("1", largest, 5.2)])).axes
    assert axes.get_xscale() == scale


def test_each_variation_has_a_line_colour_and_marker_of_its_own() -> None:
    rows = [r for n in range(8) for r in sweep(f"variation {n}", SPREAD)]
    (axes,) = sweep_figure(rows).axes
    lines = [bars.lines[0] for bars in axes.containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 8
    assert [line.get_color() for line in lines[:7]] == list(COLOURS)
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [f"variation {n}" for n in range(8)]


def test_points_of_equal_cost_stand_side_by_side() -> None:
    same = [("gradual", 28.0, 5.2), ("at once", 28.0, 5.4), ("none", 28.0, 5.3)]
    (axes,) = sweep_figure(sweep("pruning", same)).axes
    (bars,) = axes.containers
    assert len(set(bars.lines[0].get_xdata())) == 3
    assert np.mean(bars.lines[0].get_xdata()) == pytest.approx(28.0)
    assert bars.lines[0].get_linestyle() == "None", "there is no trend to show"
    assert axes.get_xticks().tolist() == [28.0]


@pytest.mark.parametrize(
    "points",
    [
        SPREAD,
        [("k=8", 20.0, 6.0), ("k=9", 20.5, 6.0), ("k=10", 21.0, 6.01), ("k=11", 21.5, 6.0)],
        [("a", 20.0, 6.0), ("b", 20.0, 6.0), ("c", 20.0, 6.0)],
    ],
)
def test_labels_do_not_cover_each_other(points: list[Point]) -> None:
    figure = sweep_figure(sweep("one", points) + sweep("two", points))
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 2 * len(points)
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert all(axes.bbox.x0 <= b.x0 and b.x1 <= axes.bbox.x1 for b in boxes)


def test_a_png_shows_the_colours_of_both_variations(tmp_path: Path) -> None:
    path = tmp_path / "sweep.png"
    draw_sweep(sweep("gradual", SPREAD) + sweep("traditional", SPREAD), path)
    with Image.open(path) as image:
        assert image.size == (1200, 840)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for colour in COLOURS[:2]:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.all(pixels == wanted, axis=1).sum() > 100


def test_rows_of_two_parts_share_no_plot() -> None:
    both = sweep("groups", SPREAD) + sweep("groups", SPREAD, split="validation")
    with pytest.raises(UserError, match="one part of the data set; found: test and validation"):
        sweep_figure(both)
    with pytest.raises(UserError, match="found: none"):
        sweep_figure([])
