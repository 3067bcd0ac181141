"""Figures as SVG: marks keep their places and know what they are of."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from results.figures import COLOURS, new_figure
from results.report import Report
from results.report.front import front_figure
from results.report.marks import Marks, mark_lines, mark_points
from results.report.svg import SVG, to_svg

POINTS = [(1.0, 1.0), (9.0, 4.0)]


@pytest.fixture
def drawn() -> ElementTree.Element:
    """Two points at a tenth and nine tenths of a sheet of 400 x 200 points, a line between them."""
    figure, marks = new_figure(width_in=400 / 72, height_in=200 / 72), Marks()
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 10), ylim=(0, 5))
    mark_points(axes, marks, "x-front", POINTS, ["a", "b"], colour=COLOURS[0], size=16)
    line = np.array(POINTS)
    mark_lines(axes, marks, "y-others", [line], ["c"], colour=COLOURS[0], width=1)
    return ElementTree.fromstring(to_svg(figure, marks, "name", "two <points>"))


def keyed(root: ElementTree.Element, tag: str) -> dict[str, dict[str, str]]:
    return {e.attrib["data-key"]: e.attrib for e in root.iter(f"{{{SVG}}}{tag}")}


def test_points_stand_where_matplotlib_has_them(drawn: ElementTree.Element) -> None:
    circles = keyed(drawn, "circle")
    assert set(circles) == {"a", "b"}
    places = {key: (float(c["cx"]), float(c["cy"])) for key, c in circles.items()}
    assert places == {"a": pytest.approx((40, 160)), "b": pytest.approx((360, 40))}
    assert {c["r"] for c in circles.values()} == {"2.00"}
    assert keyed(drawn, "polyline")["c"]["points"] == "40.0,160.0 360.0,40.0"


def test_the_look_of_marks_is_the_page_s(drawn: ElementTree.Element) -> None:
    groups = {g.get("class") for g in drawn.iter(f"{{{SVG}}}g")} - {None}
    assert groups == {"front", "others"}


def test_the_figure_is_described_and_fits_its_place(drawn: ElementTree.Element) -> None:
    assert drawn.get("aria-label") == "two <points>"
    assert drawn.get("viewBox") == "0 0 400 200"
    assert "width" not in drawn.attrib


def test_text_is_text_colours_are_variables_and_ids_are_its_own(
    report: Callable[..., Report],
) -> None:
    written = {}
    for name in ("one", "two"):
        figure, marks = front_figure(report(), "latency_ms")
        written[name] = to_svg(figure, marks, name, name)
    assert "condensenet-50</text>" in written["one"]
    assert "var(--accent)" in written["one"]
    assert not re.findall("#[0-9a-f]{6}", written["one"]), "every colour has a place in the page"
    ids = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in written.items()}
    assert ids["one"]
    assert not ids["one"] & ids["two"]


def test_the_same_figure_gives_the_same_text(report: Callable[..., Report]) -> None:
    first, second = (to_svg(*front_figure(report(), "macs"), "n", "d") for _ in range(2))
    assert first == second
