"""Data sets that are trees of image files, ROOT/CLASS/IMAGE: in memory, or read at each use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from search_space.errors import UserError
from trainers.augment import CENTRE, centre
from trainers.images import decode, shortened
from trainers.raw import DataRequest, Files, Pixels, Source
from trainers.splits import stratified_split, subset

Tree = tuple[Files, list[str]]
"""The files of a tree, and the names of its classes."""


def folder(request: DataRequest) -> Source:
    """PATH/train and PATH/val (or test); or one tree, of which a fixed fifth is for testing."""
    root = _existing(request, "folder", "PATH/val/CLASS/IMAGE (or test), or for PATH/CLASS/IMAGE")
    held_out = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
    if (root / "train").is_dir() and held_out is not None:
        return _source(request, root, *_two_trees(root / "train", held_out), share=1)
    files, classes = _tree(root / "train" if (root / "train").is_dir() else root)
    rest, test = stratified_split(files.labels, 0.2, str(root))
    return _source(request, root, files.select(rest), files.select(test), classes, share=1)


def imagenet(request: DataRequest) -> Source:
    """PATH/train and PATH/val; seven eighths around the centre of each image are evaluated."""
    root = _existing(request, "imagenet", "PATH/val/CLASS/IMAGE")
    return _source(request, root, *_two_trees(root / "train", root / "val"), share=CENTRE)


def _existing(request: DataRequest, kind: str, held_out: str) -> Path:
    root = Path(request.path)
    if not root.is_dir() or not request.path:
        missing = f"the data folder {request.path!r} does not exist"
        raise UserError(
            f"{missing if request.path else f'{kind} needs a path'}; --data {kind}:PATH looks for"
            f" PATH/train/CLASS/IMAGE and {held_out}"
        )
    return root


def _two_trees(train: Path, held_out: Path) -> tuple[Files, Files, list[str]]:
    (training, classes), (testing, others) = _tree(train), _tree(held_out)
    if classes != others:
        odd = sorted(set(classes) ^ set(others))
        raise UserError(
            f"{train} and {held_out} must hold the same classes; only in one of them:"
            f" {', '.join(odd[:5])}"
        )
    return training, testing, classes


def _tree(root: Path) -> Tree:
    from torchvision.datasets import ImageFolder

    try:
        found = ImageFolder(root)
    except FileNotFoundError as error:
        raise UserError(
            f"{root} holds no tree of images: {error}; it must be PATH/CLASS/IMAGE, or that"
            " under PATH/train and PATH/val"
        ) from None
    below = len(os.path.join(root, ""))
    names = tuple(path[below:].replace(os.sep, "/") for path, _ in found.samples)
    return Files(root=root, names=names, labels=np.array(found.targets, np.int64)), found.classes


def _source(
    request: DataRequest,
    root: Path,
    training: Files,
    testing: Files,
    classes: list[str],
    *,
    share: float,
) -> Source:
    """The images of two trees, in memory at a ``share`` of the shorter side unless lazy."""
    total = len(training.names)
    files = training.select(subset(training.labels, request.limit))
    note = f"{total:,} training images of {root}"
    if len(files.names) < total:
        note += f", of which a fixed stratified subset of {len(files.names):,} is used"
    lazy = request.limit is None if request.lazy is None else request.lazy
    train: Pixels | Files = files if lazy else _decoded(files, request.resolution, share)
    if isinstance(train, Pixels) and train.unreadable:
        note += (
            f"; {len(train.unreadable)} could not be read and are left out:"
            f" {shortened(train.unreadable)}"
        )
    return Source(
        train=train,
        load_test=lambda: testing if lazy else _decoded(testing, request.resolution, share),
        classes=len(classes),
        augmentable=True,
        note=note,
        class_names=tuple(classes),
    )


def _decoded(files: Files, size: int, share: float) -> Pixels:
    """The files' images in memory, without those that cannot be read."""
    paths = [files.root / name for name in files.names]
    images, readable, unreadable = decode(paths, centre(size, share), size)
    return Pixels(images=images, labels=files.labels[readable], unreadable=tuple(unreadable))
