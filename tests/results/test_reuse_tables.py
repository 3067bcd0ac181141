"""What was kept and what is reactivated, of connections that one can see."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from results.reuse_tables import Kept, Updated, kept, kept_frame, updated
from search_space.connections import Connections, Reading, Update

NAN = np.nan


@pytest.fixture
def found() -> Connections:
    """Two features of the stem, two of a layer; a layer of two groups, a dense head."""
    every = np.arange(4)
    return Connections(
        sources=("stem", "stage1_layer1"),
        owner=np.array([0, 0, 1, 1]),
        readings=(
            Reading(
                layer="stage1_layer2",
                op="reduce",
                features=every,
                strength=np.array([[1.0, NAN, 2.0, NAN], [3.0, NAN, NAN, 4.0]]),
                weights=8,
            ),
            Reading(
                layer="head", op="classifier", features=every, strength=np.ones((1, 4)), weights=10
            ),
        ),
        updates=(
            Update(
                layer="stage1_layer1",
                features=every[:2],
                kept=np.array([[True, False], [True, True]]),
            ),
            Update(
                layer="stage1_layer2",
                features=every,
                kept=np.array([[False, False, True, False], [False, False, True, False]]),
            ),
        ),
    )


def test_only_layers_that_dropped_something_kept_something(found: Connections) -> None:
    assert kept(found) == [
        Kept(
            layer="stage1_layer2",
            op="reduce",
            groups=2,
            inputs=4,
            kept=2.0,
            unread=1,
            shares={"stem": 0.5, "stage1": 0.5},
        )
    ]


def test_how_often_each_layer_is_reactivated(found: Connections) -> None:
    assert updated(found) == [
        # Both of its features once, one of them by two groups; then none.
        Updated(source="stem", layers=2, updating=1, mean_share=0.5, mean_groups=(1.5 + 0) / 2),
        Updated(source="stage1_layer1", layers=1, updating=1, mean_share=0.5, mean_groups=1.0),
    ]


def test_every_connection_that_was_kept(found: Connections) -> None:
    frame = kept_frame({"seed 0": found, "seed 1": found})
    assert frame.groupby("weights").size().to_dict() == {"seed 0": 8, "seed 1": 8}
    expected = pd.DataFrame(
        {
            "weights": "seed 0",
            "layer": "stage1_layer2",
            "op": "reduce",
            "group": [0, 0, 1, 1],
            "input": [0, 2, 0, 3],
            "source": ["stem", "stage1_layer1", "stem", "stage1_layer1"],
            "channel": [0, 0, 0, 1],
            "mean_weight": [1.0, 2.0, 3.0, 4.0],
        }
    )
    pd.testing.assert_frame_equal(frame[:4], expected)
