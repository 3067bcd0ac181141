"""Splits and subsets: fixed, complete, and each class at its share."""

from __future__ import annotations

import numpy as np
import pytest

from search_space import UserError
from trainers.splits import split_fingerprint, stratified_split, subset

LABELS = np.repeat([0, 1, 2], [40, 20, 20])


def test_a_split_is_complete_stratified_ascending_and_always_the_same() -> None:
    rest, part = stratified_split(LABELS, 0.25, "these")
    assert sorted([*rest, *part]) == list(range(80))
    assert np.bincount(LABELS[part]).tolist() == [10, 5, 5]
    assert (np.diff(rest) > 0).all()
    assert (np.diff(part) > 0).all()
    again = stratified_split(LABELS, 0.25, "these")
    assert [part.tolist() for part in again] == [rest.tolist(), part.tolist()]


def test_a_fingerprint_is_of_the_indices_whatever_holds_them() -> None:
    rest, part = stratified_split(LABELS, 0.25, "these")
    found = split_fingerprint(rest)
    assert len(found) == 12
    assert found == split_fingerprint(rest.astype(np.int32)) != split_fingerprint(part)


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(UserError, match=r"^these cannot be split into training and validation"):
        stratified_split(np.array([0, 0, 0, 1]), 0.5, "these")


@pytest.mark.parametrize("limit", [None, 80, 1000])
def test_without_a_limit_below_their_number_all_are_taken(limit: int | None) -> None:
    assert subset(LABELS, limit).tolist() == list(range(80))


@pytest.mark.parametrize("limit", [3, 7, 40, 79])
def test_a_subset_has_exactly_so_many_of_each_class_at_its_share(limit: int) -> None:
    chosen = subset(LABELS, limit)
    assert len(set(chosen)) == limit
    assert (np.diff(chosen) > 0).all()
    counts = np.bincount(LABELS[chosen], minlength=3)
    assert np.abs(counts - limit * np.array([0.5, 0.25, 0.25])).max() <= 1
