"""The pictures of connections: which panels there are, and the colour of what one can see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from results.reuse_figure import (
    DROPPED,
    UNLINKED,
    connections_figure,
    draw_pictures,
    reactivation_figure,
    reuse_figure,
)
from search_space.connections import Connections, Reading, Update

NAN = np.nan


def block(strength: float = 2.0, *, updates: bool = True) -> Connections:
    """A stem of two features, two layers of two; the second layer drops the stem."""
    reads = [
        ("stage1_layer1", [[1.0, strength]]),
        ("stage1_layer2", [[NAN, NAN, 1.0, 1.0]]),
        ("head", [[1.0] * 6]),
    ]
    return Connections(
        sources=("stem", "stage1_layer1", "stage1_layer2"),
        owner=np.array([0, 0, 1, 1, 2, 2]),
        readings=tuple(
            Reading(
                layer=layer,
                op="reduce",
                features=np.arange(len(rows[0])),
                strength=np.array(rows),
                weights=1,
            )
            for layer, rows in reads
        ),
        updates=(
            Update(
                layer="stage1_layer2", features=np.arange(4), kept=np.array([[True, *[False] * 3]])
            ),
        )
        * updates,
    )


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.images]


def colours(axes: Any) -> Any:
    return axes.images[0].get_array()


def names(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_seeds_stand_side_by_side_groups_above_layers() -> None:
    figure = connections_figure({"seed 0": block(), "seed 1": block(4.0)})
    top0, top1, bottom0, bottom1 = panels(figure)
    assert (top0.get_title(), top1.get_title()) == ("seed 0", "seed 1")
    assert colours(top0).shape == (6, 3, 4), "a row per feature map, a column per group"
    assert colours(bottom0).shape == (3, 3, 4), "a row and a column per layer"
    assert names(bottom1.xaxis) == ["stage 1", "head"]
    assert names(bottom1.yaxis) == ["stem", "stage 1"]
    # One scale for both: what is 2 in one is half as strong as what is 4 in the other.
    strongest = colours(top1)[1, 0].tolist()
    assert colours(top0)[1, 0].tolist() != strongest
    assert colours(top0)[0, 0].tolist() == colours(top1)[0, 0].tolist()


def test_what_is_dropped_is_white_and_what_is_not_linked_grey() -> None:
    top, bottom = panels(connections_figure({"": block()}))
    white, grey = list(DROPPED), list(UNLINKED)
    assert colours(top)[:2, 1].tolist() == [white] * 2
    assert colours(top)[4:, 1].tolist() == [grey] * 2
    assert colours(bottom)[0, 1].tolist() == white
    assert [colours(bottom)[2, 1].tolist(), colours(bottom)[1, 0].tolist()] == [grey, grey]
    drawn = [colours(bottom)[i, j].tolist() for i, j in ((0, 0), (1, 1), (2, 2))]
    assert white not in drawn
    assert grey not in drawn


def test_reuse_has_a_panel_for_each_stage_and_weights() -> None:
    figure = reuse_figure({"a": block(), "b": block()})
    first, second = panels(figure)
    assert [axes.get_title() for axes in (first, second)] == ["a: stage 1", "b: stage 1"]
    assert (names(first.xaxis), names(first.yaxis)) == (["1", "2", "out"], ["in", "1", "2"])
    assert colours(first)[1, 0].tolist() == list(UNLINKED)


def test_of_many_layers_some_are_numbered() -> None:
    depth = 40
    chain = Connections(
        sources=("stem", *(f"stage1_layer{i}" for i in range(1, depth + 1))),
        owner=np.arange(depth + 1),
        readings=tuple(
            Reading(
                layer=f"stage1_layer{i}",
                op="conv",
                features=np.array([i - 1]),
                strength=np.ones((1, 1)),
                weights=1,
            )
            for i in range(1, depth + 1)
        ),
        updates=(),
    )
    (axes,) = panels(reuse_figure({"": chain}))
    assert names(axes.xaxis) == [str(i) for i in range(2, depth + 1, 2)]
    assert names(axes.yaxis)[0] == "in"


def test_shares_that_are_updated() -> None:
    (axes,) = panels(reactivation_figure({"seed 0": block()}))
    half, none, nothing = colours(axes)[:, 0].tolist()
    assert nothing == list(UNLINKED)
    assert half != none != nothing


@pytest.mark.parametrize("updates", [True, False])
def test_files_are_written_of_what_there_is(updates: bool, tmp_path: Path) -> None:
    paths = draw_pictures({"seed 0": block(updates=updates)}, tmp_path)
    expected = ["connections", "reuse", *["reactivation"] * updates]
    assert [p.name for p in paths] == [f"explain-{name}.png" for name in expected]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    with Image.open(paths[0]) as image:
        assert image.size == (960, 1480)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    grey = [round(255 * part) for part in UNLINKED[:3]]
    assert np.all(pixels == grey, axis=1).mean() > 0.1
