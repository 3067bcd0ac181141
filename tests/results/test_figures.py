"""The sheet that figures share: labels that keep clear, files that appear whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from results.figures import COLOURS, label_points, new_figure, save_png, tidy


def test_labels_keep_clear_of_lines_points_and_each_other() -> None:
    axes = new_figure(width_in=4, height_in=3).add_subplot()
    points = np.array([[0.0, 0.0], [0.02, 0.0], [1.0, 1.0]])
    axes.plot(*points.T, marker="o")
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(-0.5, 1.5)
    label_points(axes, points, ["one", "two", "three"], COLOURS[:3])
    boxes = [text.get_window_extent() for text in axes.texts]
    line = np.linspace(points[1], points[2], 500)
    for x, y in axes.transData.transform(np.concatenate([points, line])):
        assert not any(box.contains(x, y) for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert [text.get_color() for text in axes.texts] == list(COLOURS[:3])
    near = axes.transData.transform(points)
    for box, (x, y) in zip(boxes, near, strict=True):
        assert abs(box.x0 + box.x1 - 2 * x) / 2 < 100
        assert abs(box.y0 + box.y1 - 2 * y) / 2 < 100


def test_a_label_stays_inside_at_a_corner() -> None:
    axes = new_figure(width_in=4, height_in=3).add_subplot()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.plot([1], [1], "o")
    label_points(axes, np.array([[1.0, 1.0]]), ["a long label"], ["black"])
    (box,) = [text.get_window_extent() for text in axes.texts]
    assert axes.bbox.x0 < box.x0
    assert box.x1 < axes.bbox.x1
    assert box.y1 < axes.bbox.y1


def test_a_file_is_replaced_by_a_sheet_of_the_size_asked_for(tmp_path: Path) -> None:
    figure = new_figure(width_in=2, height_in=1)
    axes = figure.add_subplot()
    tidy(axes)
    axes.plot([0, 1], [0, 1], color="#0072B2")
    path = tmp_path / "figure.png"
    path.write_bytes(b"before")
    save_png(figure, path)
    with Image.open(path) as image:
        assert image.size == (400, 200)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert np.all(pixels == (0x00, 0x72, 0xB2), axis=1).any()
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
