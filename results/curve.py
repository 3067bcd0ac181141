"""The curve of a training: learning rate, loss, and the drops of connections."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from results.figures import COLOURS, GREY, new_figure, save_png, tidy
from results.trial import StepRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSS_COLOUR, RATE_COLOUR = COLOURS[0], COLOURS[1]
SMOOTHED_SHARE = 1 / 100
"""The share of the training over which the heavy line of the loss is a mean."""

CROWDED = 0.06
"""The share of the training that the label of a drop takes; closer labels are slanted."""


def draw_curve(steps: Sequence[StepRow], path: Path, *, title: str, epochs: int) -> None:
    """Writes :func:`curve_figure` as a PNG file."""
    save_png(curve_figure(steps, title=title, epochs=epochs), path)


def curve_figure(steps: Sequence[StepRow], *, title: str, epochs: int) -> Figure:
    """Training loss and learning rate by epoch, with a vertical line at every drop.

    The thin line is the loss of each row, the heavy one its running mean, which never reaches
    across a drop.

    Args:
        steps: The rows of a training, at least one, in their order.
        title: Stands above the figure.
        epochs: Of the whole training, whose progress is 1.

    Source: CondenseNet (Huang et al., 2018), figure 4.
    """
    if not steps:
        raise ValueError("a curve needs at least one row")
    figure = new_figure(width_in=7.2, height_in=4.0)
    loss_axes = figure.add_subplot()
    rate_axes = loss_axes.twinx()
    tidy(loss_axes)
    rate_axes.spines[["top", "left", "bottom"]].set_visible(False)
    rate_axes.spines["right"].set_color(GREY)
    epoch = np.array([row.progress for row in steps]) * epochs
    loss = np.array([row.loss for row in steps])
    loss_axes.plot(epoch, loss, color=LOSS_COLOUR, alpha=0.3, linewidth=0.7)
    loss_axes.plot(epoch, smoothed(steps), color=LOSS_COLOUR, linewidth=1.8)
    rate_axes.plot(epoch, [row.learning_rate for row in steps], color=RATE_COLOUR, linewidth=1.6)
    _scale(loss_axes, "training loss", LOSS_COLOUR)
    _scale(rate_axes, "learning rate", RATE_COLOUR)
    loss_axes.set_xlim(0, epochs)
    loss_axes.set_xlabel("epoch")
    _mark_drops(loss_axes, steps, epochs)
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    return figure


def drops(steps: Sequence[StepRow]) -> list[tuple[float, float]]:
    """Progress and new density of each fall of the density.

    Rows count several updates; the progress is that at which the row begins that shows the fall.
    """
    return [(a.progress, b.density) for a, b in pairwise(steps) if b.density < a.density]


def smoothed(steps: Sequence[StepRow]) -> list[float]:
    """A running mean of the loss that starts anew at every drop."""
    frame = pd.DataFrame({"loss": [r.loss for r in steps], "density": [r.density for r in steps]})
    rows = max(1, round(len(steps) * SMOOTHED_SHARE))
    stages = frame.groupby(frame["density"].diff().lt(0).cumsum())["loss"]
    means = stages.transform(lambda loss: loss.rolling(rows, center=True, min_periods=1).mean())
    return [float(mean) for mean in means]


def _scale(axes: Axes, name: str, colour: str) -> None:
    """An axis from zero on, in the colour of its line."""
    axes.set_ylim(bottom=0)
    axes.set_ylabel(name, color=colour, fontsize=10)
    axes.tick_params(axis="y", labelcolor=colour, color=colour, labelsize=9)


def _mark_drops(axes: Axes, steps: Sequence[StepRow], epochs: int) -> None:
    """A vertical line at every drop; above it the density from there on."""
    marks = drops(steps)
    crowded = any(b - a < CROWDED for (a, _), (b, _) in pairwise(marks))

    def write(progress: float, text: str, rotation: float = 0) -> None:
        where = axes.get_xaxis_transform()
        axes.text(
            progress * epochs, 1.015, text, transform=where, color=GREY, size=9, rotation=rotation
        )

    for progress, density in marks:
        # Below the loss, whose jump it would hide.
        axes.axvline(progress * epochs, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        write(progress, f"{density:.3g}", 60 if crowded else 0)
    if marks:
        write(marks[-1][0] + CROWDED, "density")
