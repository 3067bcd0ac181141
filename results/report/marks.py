"""Marks that a page can tell what they are of: they are drawn by matplotlib for PNG files, and are
written anew, with their keys, for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection, PathCollection


@dataclass(frozen=True, kw_only=True)
class Group:
    """Marks of one look: points, or lines, and the keys of what they are of."""

    collection: PathCollection | LineCollection
    keys: Sequence[str]


@dataclass(frozen=True)
class Marks:
    """The groups of a figure by their names, which end in their looks, such as ``course-front``."""

    groups: dict[str, Group] = field(default_factory=dict)


def mark_points(
    axes: Axes,
    marks: Marks,
    name: str,
    points: Sequence[tuple[float, float]],
    keys: Sequence[str],
    *,
    colour: str,
    size: float,
    hollow: bool = False,
    on_top: bool = False,
) -> None:
    """Draws points of one colour and size (in square points); with ``on_top`` their y is a share of
    the axis, and they may stand outside."""
    if not points:
        return
    x, y = np.array(points).T
    collection = axes.scatter(
        x,
        y,
        s=size,
        marker="D" if hollow else "o",
        facecolors="white" if hollow else colour,
        edgecolors=colour if hollow else "white",
        linewidths=1.0 if hollow else 0.7,
        zorder=4,
        clip_on=not on_top,
        transform=axes.get_xaxis_transform() if on_top else axes.transData,
    )
    collection.set_gid(name)
    marks.groups[name] = Group(collection=collection, keys=keys)


def mark_lines(
    axes: Axes,
    marks: Marks,
    name: str,
    lines: Sequence[NDArray[np.float64]],
    keys: Sequence[str],
    *,
    colour: str,
    width: float,
) -> None:
    """Draws lines of one colour, ``(N, 2)`` each."""
    from matplotlib.collections import LineCollection

    if not lines:
        return
    collection = LineCollection(list(lines), colors=colour, linewidths=width, alpha=0.7, zorder=2)
    collection.set_gid(name)
    axes.add_collection(collection)
    marks.groups[name] = Group(collection=collection, keys=keys)
