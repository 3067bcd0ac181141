"""Data sets that are small enough to be kept in memory: the digits, CIFAR and arrays of one's own.

Each reader returns a :class:`Source` in memory.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search_space.errors import UserError
from trainers.raw import DataRequest, Pixels, Source
from trainers.splits import stratified_split

Arrays = dict[str, NDArray[Any]]


def digits(request: DataRequest) -> Source:
    """Scikit-learn's handwritten digits, of which a fixed fifth is for testing."""
    from sklearn.datasets import load_digits

    if request.path:
        raise UserError(
            f"--data digits:{request.path}: the digits come without a path; leave it out"
        )
    bunch = load_digits()
    grey = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)
    pixels = Pixels(
        images=grey[:, None].expand(-1, 3, -1, -1), labels=bunch.target.astype(np.int64)
    )
    rest, test = stratified_split(pixels.labels, 0.2, "digits")
    return Source(
        train=pixels.select(rest),
        load_test=lambda: pixels.select(test),
        classes=10,
        augmentable=False,
        note="scikit-learn's handwritten digits: 1,797 real 8x8 images, a demonstration",
    )


def cifar(classes: int) -> Callable[[DataRequest], Source]:
    """CIFAR-10 or CIFAR-100 in the files that its authors publish."""

    def load(request: DataRequest) -> Source:
        from torchvision import datasets

        kind: Any = {10: datasets.CIFAR10, 100: datasets.CIFAR100}[classes]
        root = Path(request.path or "data")
        try:
            parts = [kind(root, train=train, download=request.download) for train in (True, False)]
        except (RuntimeError, OSError) as error:
            folder = root / kind.base_folder
            raise UserError(
                f"CIFAR-{classes} was looked for in {folder} and not found complete ({error});"
                f" name its parent folder with --data cifar{classes}:PATH, or add --download"
            ) from None
        train, test = (
            Pixels(
                images=torch.from_numpy(part.data).permute(0, 3, 1, 2),
                labels=np.array(part.targets, np.int64),
            )
            for part in parts
        )
        return Source(
            train=train,
            load_test=lambda: test,
            classes=classes,
            augmentable=True,
            note=f"CIFAR-{classes}",
        )

    return load


def npz(request: DataRequest) -> Source:
    """Arrays of a NumPy file: ``x_train``, ``y_train``, and for testing those of test or val.

    Images are bytes ``(N, H, W, 3)``, ``(N, 3, H, W)`` or grey ``(N, H, W)``, labels ``(N,)``
    count from 0. Without a test a fixed fifth is cut off.
    """
    path = Path(request.path)
    arrays = _read_arrays(path)
    train = _pixels(arrays, "train", path)
    held_out = [name for name in ("test", "val") if {f"x_{name}", f"y_{name}"} & set(arrays)]
    if len(held_out) > 1:
        raise UserError(
            f"{path} holds both a test and a val part; keep one to test on, join the other to the"
            " training images, from which validation images are taken"
        )
    classes = _count_classes(train, path)
    note = f"{len(train.labels):,} training images of {path}"
    if held_out:
        test = _pixels(arrays, held_out[0], path)
        for label in (test.labels.max(), test.labels.min()):
            if not 0 <= label < classes:
                raise UserError(
                    f"{path}: y_{held_out[0]} holds class {label}, y_train only classes up to"
                    f" {classes - 1}; they must have the same"
                )
    else:
        rest, cut = stratified_split(train.labels, 0.2, str(path))
        train, test = train.select(rest), train.select(cut)
        note = f"{len(train.labels):,} training images of {path}, {len(cut):,} others to test on"
    return Source(train=train, load_test=lambda: test, classes=classes, augmentable=True, note=note)


def _read_arrays(path: Path) -> Arrays:
    if not path.is_file():
        raise UserError(
            f"the file {str(path)!r} does not exist; --data npz:FILE reads arrays x_train and"
            " y_train, and x_test and y_test, as numpy.savez writes them"
        )
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no .npz file")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            wanted = [f"{x}_{name}" for name in ("train", "test", "val") for x in "xy"]
            arrays = {name: archive[name] for name in wanted if name in archive}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{name} is none")
        return arrays
    except (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read as arrays: {error}; write it with numpy.savez, without objects"
        ) from None


def _pixels(arrays: Arrays, part: str, path: Path) -> Pixels:
    """Checks the arrays of a part and brings them into one form."""
    x, y = f"x_{part}", f"y_{part}"
    missing = [name for name in (x, y) if name not in arrays]
    if missing:
        raise UserError(
            f"{path} holds no {' and no '.join(missing)}, of the arrays known here only"
            f" {', '.join(arrays) or 'none'}; x_train and y_train are needed, x_test and y_test"
            " (or x_val and y_val) may be there"
        )
    images, labels = arrays[x], arrays[y]
    if images.dtype != np.uint8:
        raise UserError(f"{path}: {x} must be of uint8, from 0 to 255, and is of {images.dtype}")
    if not images.size and len(images):
        raise UserError(f"{path}: {x} must have pixels, and is of {images.shape}")
    if labels.dtype.kind not in "iu":
        raise UserError(f"{path}: {y} must be of integers and is of {labels.dtype}")
    if labels.shape != images.shape[:1] or not len(labels):
        raise UserError(
            f"{path}: {y} must be of shape (N,), one label for each image, and is of"
            f" {labels.shape} where {x} is of {images.shape}"
        )
    return Pixels(
        images=torch.from_numpy(_channels_first(images, f"{path}: {x}")),
        labels=labels.astype(np.int64),
    )


def _channels_first(images: NDArray[np.uint8], what: str) -> NDArray[np.uint8]:
    if images.ndim == 3:
        return np.repeat(images[:, None], 3, axis=1)
    if images.ndim == 4 and images.shape[3] == 3:
        return images.transpose(0, 3, 1, 2)
    if images.ndim == 4 and images.shape[1] == 3:
        return images
    raise UserError(
        f"{what} must be of shape (N, H, W, 3), (N, 3, H, W) or grey (N, H, W) and is of"
        f" {images.shape}"
    )


def _count_classes(train: Pixels, path: Path) -> int:
    """The number of classes, each of which must have an image."""
    found = np.unique(train.labels)
    if not np.array_equal(found, np.arange(len(found))):
        absent = next(i for i in range(len(found)) if i not in found)
        raise UserError(
            f"{path}: the labels in y_train must count the classes from 0 without gaps; they go"
            f" from {found[0]} to {found[-1]}, and no image has {absent}"
        )
    return len(found)
