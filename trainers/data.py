"""Images to train and to score networks on, by the name of a data set, in fixed splits.

Searching sees ``train`` and ``validation`` only, both cut from the training images; ``test`` is
for the one reading after retraining.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from search_space.errors import UnknownName, UserError
from trainers.folders import folder, imagenet
from trainers.parts import FilePart, MemoryPart, Part
from trainers.raw import DataRequest, Files, Indices, Labels, Pixels, Source
from trainers.sources import cifar, digits, npz
from trainers.splits import split_fingerprint, stratified_split, subset

__all__ = ["DATASETS", "DataSplits", "FilePart", "MemoryPart", "Part", "load_data"]

DATASETS: dict[str, Callable[[DataRequest], Source]] = {
    "digits": digits,
    "cifar10": cifar(10),
    "cifar100": cifar(100),
    "imagenet": imagenet,
    "folder": folder,
    "npz": npz,
}
"""Data sets by name. Users write NAME or NAME:PATH."""

TREES = ("imagenet", "folder")
"""Those of files, which can be read at each use."""

USAGE = ("digits", "cifar10[:PATH]", "cifar100[:PATH]", "imagenet:PATH", "folder:PATH", "npz:FILE")
"""How users write them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DataSplits:
    """A data set at one resolution.

    Attributes:
        name: As it was asked for.
        classes: How many there are.
        train: What is trained on.
        validation: What a search scores on; None where nothing was held out.
        load_test: Reads the test images, which a search never does.
        note: What the set is, in a line.
        fingerprint: Twelve hexadecimal digits that change with the training images: of the
            bytes and labels of images in memory; else of the files' names, sizes and labels.
        split: Twelve hexadecimal digits that change with which of them are held out.
        class_names: In the order of the labels; none where they are numbers only.
    """

    name: str
    classes: int
    train: Part
    validation: Part | None
    load_test: Callable[[], Part]
    note: str
    fingerprint: str
    split: str
    class_names: tuple[str, ...] = ()

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Training and validation files that could not be read so far."""
        held_out = () if self.validation is None else self.validation.unreadable
        return tuple(dict.fromkeys([*self.train.unreadable, *held_out]))


def load_data(
    name: str,
    *,
    resolution: int,
    limit: int | None = 20_000,
    download: bool = False,
    validation: float | None = None,
    lazy: bool | None = None,
    images: int | None = None,
) -> DataSplits:
    """A data set by ``NAME`` or ``NAME:PATH``, with a fixed stratified split.

    Args:
        name: A key of ``DATASETS``, with a path behind a colon where it takes one.
        resolution: Images are resized to this many pixels.
        limit: The most training images that are read from a tree of files; None for all.
        download: Whether a data set may be fetched from its site.
        validation: The share of the training images that is held out, 0 for none. None for a
            tenth, or a quarter of a set of fewer than 5,000.
        lazy: Whether a tree's files are decoded at each use, instead of kept in memory; None
            for those without a limit.
        images: The most of them that are trained on, as many of each class as its share; None for
            all that are not held out.

    Raises:
        UnknownName: no such data set; the message lists the known ones.
        UserError: its files are missing or unreadable, it cannot be split so, or ``images`` are
            fewer than its classes; the message says what was looked for.
    """
    kind, _, path = name.partition(":")
    if kind not in DATASETS:
        raise UnknownName("data set", kind, USAGE)
    if lazy and kind not in TREES:
        raise UserError(
            f"the data set {name} is kept in memory; only {' and '.join(TREES)} are"
            " read at each use (`lazy`)"
        )
    if limit is not None and limit < 1:
        raise UserError(f"`limit` (={limit}) must be at least 1 image, or None for all")
    source = DATASETS[kind](
        DataRequest(path=path, resolution=resolution, limit=limit, download=download, lazy=lazy)
    )
    if source.classes < 2:
        raise UserError(f"the data set {name} has one class; at least two are needed")
    if images is not None and images < source.classes:
        raise UserError(
            f"`images` (={images}) must be at least {source.classes}, one for each class of {name}"
        )
    train, held_out = _split(source.train.labels, validation, name)
    train = train[subset(source.train.labels[train], images)]
    raw, make = _prepared(source, resolution)
    return DataSplits(
        name=name,
        classes=source.classes,
        train=make(raw.select(train)),
        validation=None if held_out is None else make(raw.select(held_out)),
        load_test=lambda: make(source.load_test()),
        note=source.note,
        fingerprint=source.train.fingerprint(),
        split=split_fingerprint(train),
        class_names=source.class_names,
    )


def _split(labels: Labels, share: float | None, name: str) -> tuple[Indices, Indices | None]:
    """Indices of the training and the validation images."""
    if share is None:
        # A tenth of a large set is a good estimate already; a small one needs a quarter.
        share = 0.25 if len(labels) < 5000 else 0.1
    if not 0 <= share < 1:
        raise UserError(f"`validation` (={share}) must be a share from 0 to below 1")
    return stratified_split(labels, share, name) if share else (np.arange(len(labels)), None)


def _prepared(source: Source, size: int) -> tuple[Pixels | Files, Callable[[Pixels | Files], Part]]:
    """The images at a size, and what makes a part of some of them."""
    if isinstance(source.train, Files):
        return source.train, partial(_file_part, size=size)
    pixels = source.train.fitted(size)
    # Of all training images: a network is evaluated as it was trained, whatever was held out.
    mean, std = _mean_and_std(pixels.images)
    make = partial(_memory_part, size=size, mean=mean, std=std, augmentable=source.augmentable)
    return pixels, make


def _file_part(raw: Pixels | Files, *, size: int) -> Part:
    assert isinstance(raw, Files)
    return FilePart(files=raw, size=size)


def _memory_part(
    raw: Pixels | Files, *, size: int, mean: Tensor, std: Tensor, augmentable: bool
) -> Part:
    assert isinstance(raw, Pixels)
    return MemoryPart(
        images=raw.fitted(size).images,
        labels=torch.from_numpy(raw.labels),
        mean=mean,
        std=std,
        augmentable=augmentable,
        skipped=raw.unreadable,
    )


def _mean_and_std(images: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel of bytes ``(N, 3, H, W)``, as ``(3, 1, 1)``; from counts, which are small."""
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([images[:, c].flatten().bincount(minlength=256) for c in range(3)])
    shares = counts.double() / counts.sum(1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]).square()).sum(1)
    # A channel that never changes stays finite.
    std = variance.sqrt().clamp_min(1.0)
    return mean.float().view(3, 1, 1), std.float().view(3, 1, 1)
