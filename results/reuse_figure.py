"""The pictures of connections: per filter group, between layers, within a stage; reactivations.

Each shows several weights of one network side by side, as seeds are compared in CondenseNet,
figure 8. Rows are features or the layers that make them, the earliest on top; columns the layers
that read or update them. What is not linked is grey, what was dropped white.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from results import reuse
from results.figures import GREY, new_figure, save_png
from results.reuse import Flags, Matrix
from search_space.plan import stage_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    from search_space.connections import Connections

Weights = Mapping[str, "Connections"]
"""Connections of one network by what its weights are called."""

UNLINKED = (0.93, 0.93, 0.93, 1.0)
DROPPED = (1.0, 1.0, 1.0, 1.0)
MOST_TICKS = 26
"""Layers that are numbered; of more every second, fourth ... one."""


def draw_pictures(weights: Weights, folder: Path) -> list[Path]:
    """Writes every picture that there is something for; returns their files."""
    first = next(iter(weights.values()))
    pictures = {"connections": connections_figure, "reuse": reuse_figure}
    if first.updates:
        pictures["reactivation"] = reactivation_figure
    paths = []
    for name, figure in pictures.items():
        paths.append(folder / f"explain-{name}.png")
        save_png(figure(weights), paths[-1])
    return paths


def connections_figure(weights: Weights) -> Figure:
    """Weight strength per filter group on top, between layers below (CondenseNet, figure 8;
    CondenseNetV2, figures 6 and 7): :func:`results.reuse.strengths_per_group` and
    :func:`results.reuse.strengths_between`."""
    figure = new_figure(width_in=_width(weights, 3.6), height_in=7.4)
    grid = figure.subplots(2, len(weights), squeeze=False)
    _row(
        grid[0],
        [(reuse.strengths_per_group(w), reuse.linked_features(w)) for w in weights.values()],
        "mean |weight| of a group on a feature map",
    )
    _row(
        grid[1],
        [(reuse.strengths_between(w), reuse.linked_sources(w)) for w in weights.values()],
        "L1 norm of weights per feature map",
    )
    for column, (name, found) in enumerate(weights.items()):
        top, bottom = grid[:, column]
        top.set_title(name, fontsize=9)
        readings = [r.layer for r in found.readings]
        groups = [len(r.strength) for r in found.readings]
        maps = np.bincount(found.owner, minlength=len(found.sources)).tolist()
        _mark(top.xaxis, readings, groups, top.axvline)
        _mark(top.yaxis, found.sources, maps, top.axhline)
        _mark(bottom.xaxis, readings, [1] * len(readings), bottom.axvline)
        _mark(bottom.yaxis, found.sources, [1] * len(found.sources), bottom.axhline)
        top.set_xlabel("filter groups of the layer that reads", fontsize=8)
        bottom.set_xlabel("layer that reads", fontsize=8)
    grid[0, 0].set_ylabel("feature map that is read", fontsize=8)
    grid[1, 0].set_ylabel("layer that is read", fontsize=8)
    return figure


def reuse_figure(weights: Weights) -> Figure:
    """Relative use of each layer of a stage by those after it, a row of panels for each weights
    (SparseNet, figure 3): :func:`results.reuse.feature_reuse`."""
    first = next(iter(weights.values()))
    stages = sorted({stage_of(name) for name in first.sources} - {0})
    figure = new_figure(width_in=2.6 * len(stages) + 1.0, height_in=2.75 * len(weights) + 0.2)
    grid = figure.subplots(len(weights), len(stages), squeeze=False)
    for axes_of_row, (name, found) in zip(grid, weights.items(), strict=True):
        found_in = [reuse.feature_reuse(found, stage) for stage in stages]
        _row(axes_of_row, [(m, ~np.isnan(m)) for m, _ in found_in], "relative use", highest=1.0)
        for axes, stage, (matrix, readers) in zip(axes_of_row, stages, found_in, strict=True):
            axes.set_title(
                f"{name}: stage {stage}" if len(weights) > 1 else f"stage {stage}", fontsize=9
            )
            _number(axes.xaxis, readers)
            _number(
                axes.yaxis, ["input", *(f"stage{stage}_layer{i}" for i in range(1, len(matrix)))]
            )
            axes.set_xlabel("layer that reads", fontsize=8)
        axes_of_row[0].set_ylabel("layer that is read", fontsize=8)
    return figure


def reactivation_figure(weights: Weights) -> Figure:
    """The share of each layer's features that each reactivation updates (CondenseNetV2, section
    3.1): :func:`results.reuse.updated_shares`."""
    figure = new_figure(width_in=_width(weights, 3.6), height_in=3.9)
    (grid,) = figure.subplots(1, len(weights), squeeze=False)
    shares = [reuse.updated_shares(w) for w in weights.values()]
    _row(grid, [(s, ~np.isnan(s)) for s in shares], "share of feature maps updated", highest=1.0)
    for axes, (name, found) in zip(grid, weights.items(), strict=True):
        layers = [u.layer for u in found.updates]
        axes.set_title(name, fontsize=9)
        _mark(axes.xaxis, layers, [1] * len(layers), axes.axvline)
        _mark(axes.yaxis, found.sources, [1] * len(found.sources), axes.axhline)
        axes.set_xlabel("layer that reactivates", fontsize=8)
    grid[0].set_ylabel("layer that is reactivated", fontsize=8)
    return figure


# --- Panels ---------------------------------------------------------------------------------------


def _width(weights: Weights, panel_in: float) -> float:
    return panel_in * len(weights) + 1.2


def _row(
    grid: Sequence[Axes] | NDArray[Any],
    panels: Sequence[tuple[Matrix, Flags]],
    label: str,
    *,
    highest: float | None = None,
) -> None:
    """Matrices on one scale of colours from 0, up to ``highest`` or their largest value."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    top = highest or max(float(np.nanmax(matrix)) for matrix, _ in panels)
    scale = ScalarMappable(Normalize(0.0, top), _colours())
    for axes, (matrix, linked) in zip(grid, panels, strict=True):
        colours = np.array(scale.to_rgba(np.nan_to_num(matrix)))
        colours[np.isnan(matrix)] = DROPPED
        colours[~linked] = UNLINKED
        axes.imshow(colours, aspect="auto")
        axes.spines[:].set_color(GREY)
        axes.tick_params(color=GREY, labelsize=7, length=2)
    bar = grid[0].figure.colorbar(scale, ax=list(grid), pad=0.01, aspect=30)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(color=GREY, labelsize=7)
    bar.outline.set_edgecolor(GREY)


def _colours() -> Colormap:
    """From yellow, which is not white, to dark red."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("use", colormaps["YlOrRd"](np.linspace(0.12, 1, 256)))


def _mark(axis: Any, steps: Sequence[str], sizes: Sequence[int], line: Callable[..., Any]) -> None:
    """Names the stages along an axis on which each step takes some places, and parts them."""
    ends = np.cumsum(sizes)
    ticks, names, start = [], [], 0.0
    for stage, of_stage in groupby(range(len(steps)), key=lambda i: stage_of(steps[i]) or steps[i]):
        end = float(ends[list(of_stage)[-1]])
        if start:
            line(start - 0.5, color=GREY, linewidth=0.8, linestyle=":")
        ticks.append((start + end) / 2 - 0.5)
        names.append(f"stage {stage}" if isinstance(stage, int) else stage)
        start = end
    axis.set_ticks(ticks, names)


def _number(axis: Any, steps: Sequence[str]) -> None:
    """Numbers the layers of a stage along an axis, as many as fit; others keep their name."""
    every = next(2**i for i in range(20) if len(steps) <= MOST_TICKS * 2**i)
    labels = [name.partition("_layer")[2] or ("out" if name != "input" else "in") for name in steps]
    shown = [i for i, label in enumerate(labels) if not label.isdigit() or int(label) % every == 0]
    axis.set_ticks(shown, [labels[i] for i in shown])
