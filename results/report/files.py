"""The files of a report, in the folder of its run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from results.figures import save_png
from results.folder import write_atomically
from results.report.charts import course_figure, importance_figure, parallel_figure
from results.report.data import Report
from results.report.front import front_figure
from results.report.marks import Marks
from results.report.page import page
from results.report.story import FIGURES, has_figure
from results.report.svg import to_svg
from results.report.text import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, TEXT, FOLDER = "report.html", "report.md", "figures"

_DRAWN: dict[str, Callable[[Report], tuple[Figure, Marks]]] = {
    "front_ms": lambda report: front_figure(report, "latency_ms"),
    "front_macs": lambda report: front_figure(report, "macs"),
    "course": course_figure,
    "importance": lambda report: importance_figure(report.importances),
    "parallel": parallel_figure,
}
_DESCRIBED = {
    "front_ms": "Accuracy against predicted milliseconds",
    "front_macs": "Accuracy against multiply-adds",
    "course": "Hypervolume after each network",
    "importance": "Importance of single choices",
    "parallel": "Choices, costs and accuracy of every network",
}


def write_report(report: Report, folder: Path) -> list[Path]:
    """Writes ``report.html``, ``report.md`` and ``figures/``; returns the paths, the page's first.

    Raises:
        OSError: the folder cannot be written.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    drawings, written = {}, []
    for name in FIGURES:
        path = folder / FOLDER / f"{name}.png"
        if not has_figure(report, name):
            path.unlink(missing_ok=True)
            continue
        figure, marks = _DRAWN[name](report)
        save_png(figure, path)
        drawings[name] = to_svg(figure, marks, name, _DESCRIBED[name])
        written.append(path)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    footer = f"Written {now} by search report."
    write_atomically(folder / PAGE, page(report, drawings, footer))
    write_atomically(folder / TEXT, markdown(report, FOLDER, footer))
    return [folder / PAGE, folder / TEXT, *written]
