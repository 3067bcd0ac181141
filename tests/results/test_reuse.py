"""The papers' numbers of how features are used, against a block of two layers by hand."""

from __future__ import annotations

import numpy as np
import pytest

from results.reuse import (
    feature_reuse,
    linked_features,
    linked_sources,
    strengths_between,
    strengths_per_group,
    updated_shares,
)
from search_space.connections import Connections, Reading, Update

NAN = np.nan


def reading(layer: str, features: list[int], strength: list[list[float]], weights: int) -> Reading:
    return Reading(
        layer=layer,
        op="reduce",
        features=np.array(features),
        strength=np.array(strength),
        weights=weights,
    )


@pytest.fixture
def block() -> Connections:
    """A stem of two features, two layers of one and two; layers have two groups."""
    return Connections(
        sources=("stem", "stage1_layer1", "stage1_layer2"),
        owner=np.array([0, 0, 1, 2, 2]),
        readings=(
            reading("stage1_layer1", [0, 1], [[1.0, NAN], [NAN, 3.0]], weights=2),
            reading("stage1_layer2", [0, 1, 2], [[2.0, NAN, NAN], [4.0, NAN, 6.0]], weights=3),
            reading("head", [0, 1, 2, 3, 4], [[NAN, NAN, 1.0, 4.0, 4.0]], weights=10),
        ),
        updates=(
            Update(
                layer="stage1_layer2",
                features=np.array([0, 1, 2]),
                kept=np.array([[True, False, False], [True, False, True]]),
            ),
        ),
    )


def test_per_group_each_feature_has_the_mean_weight_that_was_kept(block: Connections) -> None:
    np.testing.assert_array_equal(
        strengths_per_group(block),
        [
            [1, NAN, 2, 4, NAN],
            [NAN, 3, NAN, NAN, NAN],
            [NAN, NAN, NAN, 6, 1],
            [NAN, NAN, NAN, NAN, 4],
            [NAN, NAN, NAN, NAN, 4],
        ],
    )
    assert linked_features(block).sum(axis=0).tolist() == [2, 2, 3, 3, 5]


def test_between_layers_it_is_the_l1_norm_over_the_feature_maps(block: Connections) -> None:
    # Of layer 1 on the stem: two weights of mean 1 and two of mean 3, over two feature maps.
    np.testing.assert_array_equal(
        strengths_between(block),
        [
            [(2 * 1 + 2 * 3) / 2, (3 * 2 + 3 * 4) / 2, NAN],
            [NAN, 3 * 6 / 1, 10 * 1 / 1],
            [NAN, NAN, (10 * 4 + 10 * 4) / 2],
        ],
    )
    # The head has dropped the stem, and layer 1 never had layer 2 to read.
    assert linked_sources(block).tolist() == [
        [True, True, True],
        [False, True, True],
        [False, False, True],
    ]


def test_reuse_is_the_mean_weight_relative_to_the_layers_largest(block: Connections) -> None:
    found, readers = feature_reuse(block, 1)
    assert readers == ["stage1_layer1", "stage1_layer2", "head"]
    np.testing.assert_array_equal(found, [[1, 3 / 6, NAN], [NAN, 1, 1 / 4], [NAN, NAN, 1]])


def test_a_stage_reads_all_before_it_as_one(block: Connections) -> None:
    later = Connections(
        sources=(*block.sources, "stage2_layer1"),
        owner=np.array([*block.owner, 3]),
        readings=(*block.readings[:2], reading("stage2_layer1", [0, 2, 4], [[1, 2, 6]], weights=1)),
        updates=(),
    )
    found, readers = feature_reuse(later, 2)
    assert (found.tolist()[0], readers) == ([1.0], ["stage2_layer1"])
    assert feature_reuse(later, 1)[1] == ["stage1_layer1", "stage1_layer2"]


def test_shares_that_are_updated(block: Connections) -> None:
    np.testing.assert_array_equal(updated_shares(block), [[1 / 2], [1], [NAN]])


def test_features_read_at_several_positions_are_one_feature_map() -> None:
    grid = Connections(
        sources=("stem",),
        owner=np.array([0, 0]),
        readings=(reading("head", [0, 0, 1, 1], [[1.0, 3.0, 5.0, NAN]], weights=10),),
        updates=(),
    )
    np.testing.assert_array_equal(strengths_per_group(grid), [[2], [5]])
    np.testing.assert_array_equal(strengths_between(grid), [[10 * (1 + 3 + 5) / 2]])
