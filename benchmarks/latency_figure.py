"""Measured against predicted milliseconds of networks left out, board by board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latency_models.evaluate import evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.latency_runs import Run

SHOWN = (
    *("raspberry-pi-3/ncnn/1", "raspberry-pi-4/ncnn/1", "raspberry-pi-5/ncnn/1"),
    *("jetson-tx2/ncnn/1", "pixel-4/tflite/1", "pixel-4/pytorch/1"),
)


def _panel(ax: Axes, run: Run) -> None:
    measured = np.array([j.measured_ms for j in run.judged])
    predicted = np.array([j.predicted.ms for j in run.judged])
    down = predicted - [j.predicted.low_ms for j in run.judged]
    up = [j.predicted.high_ms for j in run.judged] - predicted
    ends = (0.7 * min(measured.min(), predicted.min()), 1.4 * max(measured.max(), predicted.max()))
    ax.plot(ends, ends, color="0.6", linewidth=1)
    ax.errorbar(
        measured, predicted, yerr=[down, up], fmt="o", markersize=3.5, linewidth=0.7, alpha=0.8
    )
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    found = evaluation(run.judged)
    board, runtime, _ = run.device.split("/")
    ax.set_title(
        f"{board}, {runtime}\n{found.networks} networks, mean error {100 * found.mean:.1f} %,"
        f" {100 * found.covered:.0f} % covered",
        fontsize=9,
    )
    ax.grid(which="major", color="0.92")


def draw(runs: Sequence[Run], path: Path) -> None:
    """Small multiples with intervals; writes a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    by_device = {run.device: run for run in runs}
    for ax, device in zip(figure.subplots(2, 3).flat, SHOWN, strict=True):
        _panel(ax, by_device[device])
    figure.supxlabel("measured, ms", fontsize=10)
    figure.supylabel(
        "predicted by fits without the network or its family, ms (bars: 90 % intervals)",
        fontsize=10,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
