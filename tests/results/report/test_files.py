"""The files of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from results.importance import LEAST_NETWORKS
from results.report import Report, write_report
from results.trial import Trial


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_the_page_the_text_and_the_figures_are_written(
    report: Callable[..., Report], tmp_path: Path
) -> None:
    written = write_report(report(), tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in written} == names(tmp_path)
    drawn = {"front_ms", "front_macs", "course", "parallel"}
    assert names(tmp_path) == {"report.html", "report.md", *(f"figures/{n}.png" for n in drawn)}
    for name in drawn:
        with Image.open(tmp_path / "figures" / f"{name}.png") as image:
            assert image.width == 1800


def test_a_figure_that_there_is_no_more_goes_away(
    report: Callable[..., Report], trial: Callable[..., Trial], tmp_path: Path
) -> None:
    many = [trial(n, 0.5 + n / 100, 10.0 + n % 3) for n in range(LEAST_NETWORKS)]
    card = dataclasses.replace(
        report().card, states={"complete": len(many), "running": 0, "failed": 0}
    )
    write_report(report(trials=many, card=card), tmp_path)
    assert "figures/importance.png" in names(tmp_path)
    assert "importance" in (tmp_path / "report.md").read_text("utf-8")
    write_report(report(), tmp_path)
    assert "figures/importance.png" not in names(tmp_path)
