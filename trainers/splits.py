"""Fixed splits and subsets, in which each class keeps its share."""

from __future__ import annotations

import numpy as np

from search_space.digests import short_hash
from search_space.errors import UserError
from trainers.raw import Indices, Labels

SPLIT_SEED = 0
"""All splits are made with this seed, so that every run and every machine sees the same ones."""


def stratified_split(labels: Labels, share: float, what: str) -> tuple[Indices, Indices]:
    """Indices of (the rest, a share of each class), both in ascending order.

    Raises:
        UserError: a class has too few images.
    """
    from sklearn.model_selection import train_test_split

    counts = np.unique(labels, return_counts=True)[1]
    try:
        rest, part = train_test_split(
            np.arange(len(labels)), test_size=share, random_state=SPLIT_SEED, stratify=labels
        )
    except ValueError:
        raise UserError(
            f"{what} cannot be split into training and validation images by a share of {share:g}:"
            f" {len(labels):,} images of {len(counts)} classes, the rarest of which has"
            f" {counts.min()}; each class needs one on both sides"
        ) from None
    return np.sort(rest), np.sort(part)


def split_fingerprint(trained_on: Indices) -> str:
    """Twelve hexadecimal digits that other indices of the images trained on would change."""
    return short_hash([trained_on.astype("<i8").tobytes()])


def subset(labels: Labels, limit: int | None) -> Indices:
    """Indices of at most ``limit`` images, as many of each class as its share, ascending."""
    if limit is None or len(labels) <= limit:
        return np.arange(len(labels))
    rng = np.random.default_rng(SPLIT_SEED)
    # Where each image stands among those of its class, from 0 to 1, in random order.
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(position, kind="stable")[:limit])
