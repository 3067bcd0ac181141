"""What all figures share: the sheet, the colours, labels that keep clear of lines, PNG files.

Figures are matplotlib's objects, drawn by Agg; nothing global is touched.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.folder import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = NDArray[np.float64]
"""``(N, 2)``: x and y."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9", "#222222")
"""Told apart by colour-blind readers too; after Okabe and Ito, Color Universal Design (2008)."""

GREY, MUTED, LIGHT = "#666666", "#ABABAB", "#E6E6E6"
INK_PX = 4.0
"""Lines are looked at in steps of this length to keep labels clear of them."""

CLEAR_PX = 7.0
"""What a label keeps from the middle of lines and dots."""


def new_figure(*, width_in: float, height_in: float) -> Figure:
    """An empty sheet."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=200, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: Axes) -> None:
    """A light grid behind what is drawn, and no frame but the axes."""
    axes.set_axisbelow(True)
    axes.grid(color=LIGHT, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(color=GREY, labelsize=9)


def save_png(figure: Figure, path: Path) -> None:
    """Replaces a PNG file in one step."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())


def label_points(axes: Axes, points: Points, texts: Sequence[str], colours: Sequence[str]) -> None:
    """Writes a text beside each point, where it hides neither a line nor another text.

    The scales and everything else must have been drawn before: the layout is fixed here. Where all
    places around a point are taken, the text goes to the one that hides least.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    ink = _ink(axes)
    for (x, y), text, colour in zip(points, texts, colours, strict=True):
        ink = np.concatenate([ink, _label(axes, x, y, text, colour, ink)])


_AROUND = ((0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0))
"""Directions from a point to its label, the best first."""


def _label(axes: Axes, x: float, y: float, text: str, colour: str, ink: Points) -> Points:
    """Writes one label; returns points that cover it, in pixels."""
    label = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", color=colour, size=9)

    def move(place: tuple[float, float, int, int]) -> None:
        near, far, right, up = place
        gap = near if right and up else far
        label.set(ha=("right", "center", "left")[right + 1], va=("top", "center", "bottom")[up + 1])
        label.xyann = (right * gap, up * gap)

    def hidden(place: tuple[float, float, int, int]) -> float:
        move(place)
        box = label.get_window_extent().padded(CLEAR_PX)
        outside = not axes.bbox.containsx(box.x0) or not axes.bbox.containsx(box.x1)
        outside |= not axes.bbox.containsy(box.y0) or not axes.bbox.containsy(box.y1)
        inside = (ink > (box.x0, box.y0)) & (ink < (box.x1, box.y1))
        return float(inside.all(axis=1).sum()) + 1000 * outside

    places = [(gap, 1.5 * gap, *way) for gap in (5.5, 9.0, 14.0) for way in _AROUND]
    move(min(places, key=hidden))
    box = label.get_window_extent()
    corners = np.mgrid[box.x0 : box.x1 : INK_PX, box.y0 : box.y1 : INK_PX]
    return corners.reshape(2, -1).T


def _ink(axes: Axes) -> Points:
    """Points along all lines, error bars and dots of the axes, in pixels."""
    from matplotlib.collections import LineCollection

    drawn = [axes.transData.transform(line.get_xydata()) for line in axes.lines]
    for collection in axes.collections:
        parts = (
            collection.get_segments()
            if isinstance(collection, LineCollection)
            else [[dot] for dot in np.asarray(collection.get_offsets())]
        )
        drawn += [axes.transData.transform(part) for part in parts]
    return np.concatenate([_filled(points) for points in drawn])


def _filled(points: Points) -> Points:
    """The points of a line and, between them, one every few pixels."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    lengths = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.union1d(np.arange(0.0, lengths[-1], INK_PX), lengths)
    return np.stack([np.interp(at, lengths, coordinate) for coordinate in points.T], axis=1)
