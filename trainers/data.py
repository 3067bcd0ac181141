"""Images to score candidates on: fixed splits, held in memory at the proxy's resolution.

Searching sees ``train`` and ``validation`` only, both cut from the training images; ``test`` is
for the one reading after retraining.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from search_space.errors import UnknownName, UserError

SPLIT_SEED = 0
"""All splits are made with this seed, so that every run and every machine sees the same ones."""

Labels = NDArray[np.int64]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Images ``(N, 3, size, size)`` as bytes, and their classes ``(N,)``."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    augment: bool

    def __len__(self) -> int:
        return len(self.labels)

    def batch_count(self, size: int) -> int:
        """How many batches :meth:`batches` yields in training."""
        return max(1, len(self) // size + (len(self) % size > 1))

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Normalised batches: in order, or shuffled (and augmented) where a generator is given.

        A shuffled batch is never of one image, of which batch norm could make nothing: such a
        rest joins the batch before it.
        """
        n = len(self)
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        chunks = list(torch.split(order, size))
        if generator is not None and len(chunks) > 1 and len(chunks[-1]) == 1:
            chunks[-2:] = [torch.cat(chunks[-2:])]
        for chosen in chunks:
            images = self.images[chosen].float().sub_(self.mean).div_(self.std)
            if generator is not None and self.augment:
                images = crop_and_flip(images, generator)
            yield images, self.labels[chosen]


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to an eighth of its size (zeros move in) and mirrored at random,
    as the papers train on CIFAR."""
    n, _, size, _ = images.shape
    pad = max(1, size // 8)
    padded = F.pad(images, (pad,) * 4)
    start = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator)
    rows, columns = start + torch.arange(size)
    flip = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    image = torch.arange(n)[:, None, None]
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class DataSplits:
    """A data set at one resolution; ``note`` says in a sentence what it is.

    ``load_test`` reads the test images, which a search never does.
    """

    name: str
    classes: int
    train: Part
    validation: Part
    load_test: Callable[[], Part]
    note: str


@dataclass(frozen=True, kw_only=True, eq=False)
class _Raw:
    """Training images as bytes ``(N, 3, H, W)``, before the validation split, their classes, and
    a function that reads those of the test."""

    images: Tensor
    labels: Labels
    load_test: Callable[[], tuple[Tensor, Labels]]
    augment: bool
    note: str


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """What a loader is asked for: ``path`` after the colon ('' if none), the resolution in
    pixels, how many training images at the most, and whether it may download."""

    path: str
    resolution: int
    limit: int
    download: bool = False


def _split(labels: Labels, share: float, what: str) -> tuple[Labels, Labels]:
    """Indices of a fixed stratified split into (rest, share)."""
    from sklearn.model_selection import train_test_split

    try:
        rest, part = train_test_split(
            np.arange(len(labels)), test_size=share, random_state=SPLIT_SEED, stratify=labels
        )
    except ValueError as error:
        raise UserError(
            f"{what} cannot be split into training and validation images: {error}"
        ) from None
    return np.sort(rest), np.sort(part)


def _digits(request: DataRequest) -> _Raw:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)
    images = grey[:, None].expand(-1, 3, -1, -1)
    labels = bunch.target.astype(np.int64)
    rest, test = _split(labels, 0.2, "digits")
    return _Raw(
        images=images[rest],
        labels=labels[rest],
        load_test=lambda: (images[test], labels[test]),
        augment=False,
        note="scikit-learn's handwritten digits: 1,797 real 8x8 images, a demonstration",
    )


def _cifar(classes: int) -> Callable[[DataRequest], _Raw]:
    def load(request: DataRequest) -> _Raw:
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
            (torch.from_numpy(part.data).permute(0, 3, 1, 2), np.array(part.targets, np.int64))
            for part in parts
        )
        return _Raw(
            images=train[0],
            labels=train[1],
            load_test=lambda: test,
            augment=True,
            note=f"CIFAR-{classes}",
        )

    return load


def _folder(request: DataRequest) -> _Raw:
    from torchvision.datasets import ImageFolder

    root = Path(request.path)
    if not request.path or not root.is_dir():
        raise UserError(
            f"the data folder {request.path!r} does not exist; --data folder:PATH looks for"
            " PATH/train/CLASS/IMAGE and PATH/val/CLASS/IMAGE (or test), or for PATH/CLASS/IMAGE"
        )
    held_out = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
    try:
        if (root / "train").is_dir() and held_out is not None:
            training, testing = ImageFolder(root / "train"), ImageFolder(held_out)
            if training.classes != testing.classes:
                odd = sorted(set(training.classes) ^ set(testing.classes))
                raise UserError(
                    f"{root / 'train'} and {held_out} must hold the same classes; only in one of"
                    f" them: {', '.join(odd[:5])}"
                )
            samples, test_samples = training.samples, testing.samples
        else:
            tree = root / "train" if (root / "train").is_dir() else root
            samples = ImageFolder(tree).samples
            rest, test = _split(np.array([label for _, label in samples]), 0.2, str(root))
            samples, test_samples = [samples[i] for i in rest], [samples[i] for i in test]
    except FileNotFoundError as error:
        raise UserError(
            f"{root} holds no tree of images: {error}; it must be PATH/CLASS/IMAGE, or that"
            " under PATH/train and PATH/val"
        ) from None
    total = len(samples)
    samples = _subset(samples, request.limit)
    note = f"{total:,} training images of {root}"
    if len(samples) < total:
        note += f", of which a fixed stratified subset of {len(samples):,} is used"
    return _Raw(
        images=_read(samples, request.resolution),
        labels=_labels(samples),
        load_test=lambda: (_read(test_samples, request.resolution), _labels(test_samples)),
        augment=True,
        note=note,
    )


def _labels(samples: list[tuple[str, int]]) -> Labels:
    return np.array([label for _, label in samples], np.int64)


def _subset(samples: list[tuple[str, int]], limit: int) -> list[tuple[str, int]]:
    """At most ``limit`` samples, as many of each class as its share, in the old order."""
    if len(samples) <= limit:
        return samples
    labels = _labels(samples)
    rng = np.random.default_rng(SPLIT_SEED)
    # Where each sample stands among those of its class, from 0 to 1, in random order.
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    chosen = np.sort(np.argsort(position, kind="stable")[:limit])
    return [samples[i] for i in chosen]


def _read(samples: list[tuple[str, int]], resolution: int) -> Tensor:
    """Decodes files to ``(N, 3, resolution, resolution)`` bytes: shorter side resized, centre
    cropped."""
    from torchvision.transforms import v2

    transform = v2.Compose([v2.Resize(resolution), v2.CenterCrop(resolution), v2.PILToTensor()])

    def read(sample: tuple[str, int]) -> Tensor:
        try:
            with Image.open(sample[0]) as image:
                pixels: Tensor = transform(_rgb(image))
                return pixels
        except (OSError, Image.DecompressionBombError) as error:
            raise UserError(
                f"the image {sample[0]} cannot be read: {error}; mend or remove it"
            ) from None

    with ThreadPoolExecutor() as pool:
        return torch.stack(list(pool.map(read, samples)))


DATASETS: dict[str, Callable[[DataRequest], _Raw]] = {
    "digits": _digits,
    "cifar10": _cifar(10),
    "cifar100": _cifar(100),
    "folder": _folder,
}
"""Data sets by name. Users write NAME or NAME:PATH."""


def load_data(
    name: str, *, resolution: int, limit: int = 20_000, download: bool = False
) -> DataSplits:
    """A data set by ``NAME`` or ``NAME:PATH``, with a fixed stratified split.

    Args:
        name: A key of ``DATASETS``, with a path behind a colon where it takes one.
        resolution: Images are resized to this many pixels.
        limit: The most training images that are read from a folder tree.
        download: Whether a data set may be fetched from its site.

    Raises:
        UnknownName: no such data set; the message lists the known ones.
        UserError: its files are missing or unreadable; the message says what was looked for.
    """
    kind, _, path = name.partition(":")
    if kind not in DATASETS:
        raise UnknownName("data set", kind, [n + ":PATH" * (n == "folder") for n in DATASETS])
    raw = DATASETS[kind](
        DataRequest(path=path, resolution=resolution, limit=limit, download=download)
    )
    if raw.labels.max() == 0:
        raise UserError(f"the data set {name} has one class; at least two are needed")
    # A tenth of a large set is a good estimate already; a small one needs a quarter.
    train, validation = _split(raw.labels, 0.25 if len(raw.labels) < 5000 else 0.1, name)
    pixels = _resize(raw.images[train], resolution)
    mean = pixels.float().mean((0, 2, 3), keepdim=True)[0]
    std = pixels.float().std((0, 2, 3), keepdim=True)[0].clamp_min(1.0)

    def part(images: Tensor, labels: Labels) -> Part:
        return Part(
            images=_resize(images, resolution),
            labels=torch.from_numpy(labels),
            mean=mean,
            std=std,
            augment=raw.augment,
        )

    return DataSplits(
        name=name,
        classes=int(raw.labels.max()) + 1,
        train=part(raw.images[train], raw.labels[train]),
        validation=part(raw.images[validation], raw.labels[validation]),
        load_test=lambda: part(*raw.load_test()),
        note=raw.note,
    )


def _rgb(image: Image.Image) -> Image.Image:
    """Any image as eight bits each of red, green and blue."""
    if image.mode.startswith("I"):  # grey of 16 bits, which Pillow would clip
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P":  # a palette, perhaps with transparency
        image = image.convert("RGBA")
    return image.convert("RGB")


def _resize(images: Tensor, resolution: int) -> Tensor:
    if images.shape[-1] == images.shape[-2] == resolution:
        return images
    resized = F.interpolate(
        images.float(), size=(resolution, resolution), mode="bilinear", antialias=True
    )
    return resized.round().to(torch.uint8)
