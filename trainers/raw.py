"""Data sets before they are split and normalised: pixels in memory, or the names of files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from search_space.digests import short_hash
from trainers.augment import centre
from trainers.images import check_memory, read_rgb

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]

_CHUNK = 1024
"""How many images are handled at once, where a copy of all would be large."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pixels:
    """Images as bytes ``(N, 3, H, W)``, their classes ``(N,)``, and files that were skipped."""

    images: Tensor
    labels: Labels
    unreadable: tuple[str, ...] = ()

    def select(self, indices: Indices) -> Pixels:
        """These images only."""
        return Pixels(
            images=self.images[torch.from_numpy(indices)],
            labels=self.labels[indices],
            unreadable=self.unreadable,
        )

    def fitted(self, size: int) -> Pixels:
        """The shorter side resized to ``size``, the longer cropped around the centre."""
        if self.images.shape[2:] == (size, size):
            return self
        check_memory(len(self.labels), size)
        fit = centre(size, share=1)
        images = torch.cat([fit(chunk) for chunk in torch.split(self.images, _CHUNK)])
        return Pixels(images=images, labels=self.labels, unreadable=self.unreadable)

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that other images or labels would change."""
        shape = repr(tuple(self.images.shape)).encode()
        chunks = (chunk.numpy().tobytes() for chunk in torch.split(self.images, _CHUNK))
        return short_hash(chain([shape], chunks, [self.labels.tobytes()]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Files:
    """Image files by their names below ``root``, and their classes ``(N,)``."""

    root: Path
    names: tuple[str, ...]
    labels: Labels

    def name(self, index: int) -> str:
        """The path of an image."""
        return str(self.root / self.names[index])

    def read(self, index: int) -> Image.Image:
        """Decodes an image; raises ``Unreadable``."""
        return read_rgb(self.root / self.names[index])

    def select(self, indices: Indices) -> Files:
        """These files only."""
        names = tuple(self.names[i] for i in indices)
        return Files(root=self.root, names=names, labels=self.labels[indices])

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that other names, sizes or labels would change."""
        sizes = (_size(os.path.join(self.root, name)) for name in self.names)
        return short_hash(
            f"{name}\0{size}\0{label}\n".encode("utf-8", "surrogateescape")
            for name, size, label in zip(self.names, sizes, self.labels, strict=True)
        )


def _size(path: str) -> int:
    """Of a file in bytes; -1 for a link to nothing, which is found unreadable where it is read."""
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What a data set's reader returns.

    Attributes:
        train: What may be trained on, before validation images are held out.
        load_test: Reads what is for testing, in the same form.
        classes: How many there are.
        augmentable: Whether images keep their class when they are shifted and mirrored.
        note: What the set is, in a line.
        class_names: In the order of the labels; none where they are numbers only.
    """

    train: Pixels | Files
    load_test: Callable[[], Pixels | Files]
    classes: int
    augmentable: bool
    note: str
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """What a reader is asked for.

    Attributes:
        path: What stands behind the name's colon, '' if nothing.
        resolution: In pixels.
        limit: The most training images, None if all, of a tree of files.
        download: Whether the set may be fetched from its site.
        lazy: Whether files are decoded at each use; None leaves it to the reader.
    """

    path: str
    resolution: int
    limit: int | None
    download: bool = False
    lazy: bool | None = None
