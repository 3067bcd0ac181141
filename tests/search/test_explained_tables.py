"""What ``search explain`` says of weights, of connections that one can see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from search.drawing import Drawn
from search.explained_tables import show_drawn
from search_space.connections import Connections, Reading, Update

NAN = np.nan


def connections(second: list[float], kept: list[bool]) -> Connections:
    """A stem of three features; a layer whose second group has these weights."""
    return Connections(
        sources=("stem", "stage1_layer1"),
        owner=np.array([0, 0, 0, 1]),
        readings=(
            Reading(
                layer="stage1_layer1",
                op="reduce",
                features=np.arange(3),
                strength=np.array([[1.0, NAN, NAN], second]),
                weights=4,
            ),
        ),
        updates=(Update(layer="stage1_layer1", features=np.arange(3), kept=np.array([kept])),)
        * bool(kept),
    )


def said(drawn: Drawn, capsys: pytest.CaptureFixture[str]) -> str:
    show_drawn(Console(width=120), drawn)
    return capsys.readouterr().out


def rows(shown: str) -> list[list[str]]:
    lines = [line for line in shown.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


def test_what_was_kept_and_what_is_reactivated_by_seed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn = Drawn(
        connections={
            "seed 0": connections([NAN, 2.0, NAN], [True, False, True]),
            "seed 1": connections([3.0, NAN, NAN], [False, False, False]),
        },
        written=[Path("a.png"), Path("b.csv")],
        untrained=["seed 1"],
    )
    shown = said(drawn, capsys)
    assert rows(shown) == [
        ["stage1_layer1", "2", "1", "3", "1", "33%"],
        ["stage1_layer1", "2", "1", "3", "2", "33%"],
        ["stem", "1 of 1, 67%", "0 of 1, 0%"],
    ]
    assert "seed 1: what each filter group kept, and of which part" in shown
    assert "seed 1: these weights were not trained" in shown
    assert shown.endswith("Written:\n  a.png\n  b.csv\n")


def test_what_drops_and_reactivates_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    whole = connections([1.0, 1.0, 1.0], [])
    (reading,) = whole.readings
    dense = Connections(
        sources=whole.sources,
        owner=whole.owner,
        readings=(
            Reading(
                layer=reading.layer,
                op=reading.op,
                features=reading.features,
                strength=np.ones((1, 3)),
                weights=4,
            ),
        ),
        updates=(),
    )
    shown = said(Drawn(connections={"seed 0": dense}, written=[Path("a.png")]), capsys)
    assert shown == "seed 0: no layer has dropped anything\nWritten:\n  a.png\n"


def test_why_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(Drawn(missing="No pictures: for a reason"), capsys) == "No pictures: for a reason\n"
