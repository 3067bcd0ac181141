"""Figures as SVG for a page: text stays text, colours are the page's, marks have their keys."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from results.figures import COLOURS, GREY, LIGHT, MUTED
from results.report.marks import Group, Marks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_PAGE_COLOURS = {
    COLOURS[0]: "var(--accent)",
    GREY: "var(--quiet)",
    MUTED: "var(--muted)",
    LIGHT: "var(--grid)",
    "#ffffff": "var(--paper)",
    "#000000": "var(--ink)",
}
_POINTS_PER_INCH = 72
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", LINK)


def to_svg(figure: Figure, marks: Marks, name: str, description: str) -> str:
    """An ``svg`` element.

    Args:
        figure: It is drawn anew.
        marks: Its groups, which are written as circles and lines with a ``data-key`` each.
        name: Tells its ids from those of other figures of the page.
        description: For those who cannot see it.
    """
    root = ElementTree.fromstring(_drawn(figure, name))
    for group_name, group in marks.groups.items():
        _rewrite(root, group_name, group, figure)
    _tidy(root)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", description)
    text = ElementTree.tostring(root, encoding="unicode")
    for colour, variable in _PAGE_COLOURS.items():
        text = re.sub(re.escape(colour), variable, text, flags=re.IGNORECASE)
    return text


def _drawn(figure: Figure, name: str) -> str:
    import matplotlib

    content = io.StringIO()
    # Read while it is saved, and only in this block: figures have no setting of their own for it.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(content, format="svg", metadata={"Date": None}, transparent=True)
    return content.getvalue()


def _rewrite(root: ElementTree.Element, name: str, group: Group, figure: Figure) -> None:
    found = root.find(f".//*[@id='{name}']")
    assert found is not None, name
    found.clear()
    found.set("class", name.rpartition("-")[2])
    found.extend(_elements(group, figure))


def _elements(group: Group, figure: Figure) -> Iterator[ElementTree.Element]:
    from matplotlib.collections import PathCollection

    collection = group.collection
    if isinstance(collection, PathCollection):
        radius = np.sqrt(float(collection.get_sizes()[0])) / 2
        offsets = np.asarray(collection.get_offsets())
        places = collection.get_offset_transform().transform(offsets)
        for key, (x, y) in zip(group.keys, _to_page(figure, places), strict=True):
            yield _element("circle", key, cx=f"{x:.2f}", cy=f"{y:.2f}", r=f"{radius:.2f}")
        return
    for key, segment in zip(group.keys, collection.get_segments(), strict=True):
        places = collection.get_transform().transform(segment)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _to_page(figure, places))
        yield _element("polyline", key, points=points)


def _to_page(figure: Figure, places: np.ndarray) -> np.ndarray:
    """From pixels, from the bottom, to points, from the top."""
    scaled = np.asarray(places) * _POINTS_PER_INCH / figure.dpi
    height = figure.get_figheight() * _POINTS_PER_INCH
    return np.stack([scaled[:, 0], height - scaled[:, 1]], axis=1)


def _element(tag: str, key: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.Element(f"{{{SVG}}}{tag}", {"data-key": key, **attributes})


def _tidy(root: ElementTree.Element) -> None:
    """Drops what matplotlib says of itself, and ids that nothing refers to."""
    for child in root.findall(f"{{{SVG}}}metadata"):
        root.remove(child)
    whole = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', whole))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
