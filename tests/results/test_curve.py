"""The curve of a training: its data, where it is marked, and that it is drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from results.curve import curve_figure, draw_curve, drops, smoothed
from results.figures import COLOURS
from results.trial import StepRow


def course(losses: list[float], densities: list[float]) -> list[StepRow]:
    """A training of so many rows, whose learning rate falls from 1."""
    n = len(losses)
    return [
        StepRow(step=10 * i, progress=i / n, learning_rate=1 - i / n, loss=loss, density=density)
        for i, (loss, density) in enumerate(zip(losses, densities, strict=True), start=1)
    ]


CONDENSED = course(
    [4.0, 3.0, 3.5, 2.0, 2.5, 1.0, 0.5, 0.25], [1, 1, 0.75, 0.75, 0.5, 0.5, 0.5, 0.5]
)


def test_a_drop_is_where_the_density_falls() -> None:
    assert drops(CONDENSED) == [(2 / 8, 0.75), (4 / 8, 0.5)]
    assert drops(course([1.0, 1.0], [0.5, 0.5])) == []


def test_the_lines_are_loss_and_learning_rate_by_epoch() -> None:
    figure = curve_figure(CONDENSED, title="a training", epochs=16)
    loss, rate = figure.axes
    (raw, mean, *marks), (rates,) = loss.lines, rate.lines
    assert raw.get_xdata().tolist() == [2, 4, 6, 8, 10, 12, 14, 16]
    assert raw.get_ydata().tolist() == [row.loss for row in CONDENSED]
    assert mean.get_ydata().tolist() == smoothed(CONDENSED)
    assert list(rates.get_ydata()) == [row.learning_rate for row in CONDENSED]
    assert [mark.get_xdata() for mark in marks] == [[4, 4], [8, 8]]
    assert [text.get_text() for text in loss.texts] == ["0.75", "0.5", "density"]
    assert (loss.get_xlabel(), loss.get_ylabel(), rate.get_ylabel()) == (
        "epoch",
        "training loss",
        "learning rate",
    )
    assert loss.get_xlim() == (0, 16)
    assert figure.get_suptitle() == "a training"


def test_the_mean_does_not_reach_across_a_drop() -> None:
    rows = course([1.0, 3.0] * 150 + [11.0, 13.0] * 150, [1.0] * 300 + [0.5] * 300)
    means = np.array(smoothed(rows))
    assert np.all((means[:300] >= 1) & (means[:300] <= 3))
    assert np.all((means[300:] >= 11) & (means[300:] <= 13))
    assert np.ptp(means[10:290]) < 2 / 3
    assert smoothed(CONDENSED) == [row.loss for row in CONDENSED], "too few rows for a mean"


@pytest.mark.parametrize(("stages", "slanted"), [(8, False), (16, True)])
def test_labels_of_many_drops_are_slanted(stages: int, slanted: bool) -> None:
    density = [max(1 - int(i / 60 * (stages - 1)) / stages, 1 / stages) for i in range(120)]
    (loss, _) = curve_figure(course([1.0] * 120, density), title="", epochs=3).axes
    *labels, name = loss.texts
    assert (len(labels), name.get_text()) == (stages - 1, "density")
    assert {label.get_rotation() for label in labels} == {60.0 if slanted else 0.0}


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_diverged_leaves_a_gap(tmp_path: Path, broken: float) -> None:
    draw_curve(course([2.0, broken, 1.0], [1.0] * 3), tmp_path / "curve.png", title="", epochs=1)
    assert (tmp_path / "curve.png").stat().st_size > 0


@pytest.mark.parametrize("rows", [1, 8])
def test_a_png_shows_both_lines(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "curve.png"
    draw_curve(CONDENSED[:rows], path, title="a training", epochs=16)
    with Image.open(path) as image:
        assert image.size == (1440, 800)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for colour in COLOURS[:2]:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.all(pixels == wanted, axis=1).sum() > 100
    assert [p.name for p in tmp_path.iterdir()] == ["curve.png"]


def test_nothing_has_no_curve() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        curve_figure([], title="", epochs=1)
