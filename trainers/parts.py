"""Parts of a data set, as trainings read them: normalised batches of images and labels."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainers.augment import (
    AUGMENTATIONS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    OF_BATCHES,
    check_augmentation,
)
from trainers.images import check_unreadable
from trainers.keyed import generator_of
from trainers.one_by_one import Images, OneByOne, read_batches
from trainers.raw import Files

Batch = tuple[Tensor, Tensor]


class Part(ABC):
    """Images of one size and their classes.

    Attributes:
        labels: ``(N,)``, int64.
        augmentable: Whether its images keep their class when they are shifted and mirrored;
            those that do not, digits, are never augmented.
        unreadable: The files that could not be read so far.
    """

    labels: Tensor
    augmentable: bool

    @property
    @abstractmethod
    def unreadable(self) -> tuple[str, ...]: ...

    @property
    @abstractmethod
    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        """``(3, 1, 1)``, of bytes; what images are normalised by."""

    @property
    def normalisation(self) -> str:
        """The same in words, for those who use the network elsewhere."""
        mean, std = ([round(x, 2) for x in t.flatten().tolist()] for t in self.mean_and_std)
        return f"(pixel - {mean}) / {std}, red, green, blue"

    def __len__(self) -> int:
        return len(self.labels)

    def load(
        self,
        batches: Sequence[Tensor],
        *,
        augment: str = "none",
        seed: tuple[int, ...] | None = None,
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Yields images ``(n, 3, size, size)``, normalised float32 in channels-last order, and
        labels ``(n,)`` for each tensor of indices.

        What is drawn is a function of ``seed`` and the images' indices alone: not of the batches
        before, nor of ``workers``; torch's default generator stays as it is.

        Args:
            batches: Indices into this part, one tensor per batch.
            augment: A key of ``AUGMENTATIONS``.
            seed: Needed where ``augment`` draws; usually (seed of the training, epoch).
            workers: How many processes read and augment images one at a time; 0 is this one.
                Batches of images in memory that are augmented as a whole need none.

        Raises:
            UnknownName: no such augmentation.
            UserError: too many files cannot be read.
        """
        check_augmentation(augment)
        if augment == "none" or not self.augmentable:
            return self._load(batches, "none", None, workers)
        if seed is None:
            raise ValueError(f"augmentation {augment!r} draws: it needs a seed")
        return self._load(batches, augment, seed, workers)

    @abstractmethod
    def _load(
        self,
        batches: Sequence[Tensor],
        augment: str,
        seed: tuple[int, ...] | None,
        workers: int,
    ) -> Iterator[Batch]: ...

    @abstractmethod
    def select(self, indices: Tensor) -> Part:
        """The part of these images only."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Part:
        """The part with its images in a device's memory, if they are in memory at all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryPart(Part):
    """Images ``(N, 3, size, size)`` as bytes, and their classes ``(N,)``, on one device.

    ``mean`` and ``std`` are ``(3, 1, 1)``, of bytes.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    augmentable: bool
    skipped: tuple[str, ...] = ()

    @property
    def unreadable(self) -> tuple[str, ...]:
        return self.skipped

    @property
    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        return self.mean, self.std

    def _load(
        self,
        batches: Sequence[Tensor],
        augment: str,
        seed: tuple[int, ...] | None,
        workers: int,
    ) -> Iterator[Batch]:
        if augment not in OF_BATCHES:
            yield from self._load_one_by_one(batches, augment, seed, workers)
            return
        for batch in batches:
            chosen = batch.to(self.images.device)
            images = self.images[chosen].float().sub_(self.mean).div_(self.std)
            if seed is not None:
                images = OF_BATCHES[augment](images, generator_of(*seed, int(batch[0])))
            yield images.contiguous(memory_format=torch.channels_last), self.labels[chosen]

    def _load_one_by_one(
        self,
        batches: Sequence[Tensor],
        augment: str,
        seed: tuple[int, ...] | None,
        workers: int,
    ) -> Iterator[Batch]:
        on_cpu = self.to("cpu")
        dataset = OneByOne(
            source=_Pixels(images=on_cpu.images),
            labels=on_cpu.labels,
            mean=on_cpu.mean,
            std=on_cpu.std,
            augmentation=AUGMENTATIONS[augment](self.images.shape[-1]),
            key=seed,
        )
        for loaded in read_batches(dataset, batches, workers=workers):
            assert loaded.images is not None
            yield loaded.images.to(self.images.device), loaded.labels.to(self.labels.device)

    def select(self, indices: Tensor) -> MemoryPart:
        return dataclasses.replace(self, images=self.images[indices], labels=self.labels[indices])

    def to(self, device: torch.device | str) -> MemoryPart:
        tensors = {
            name: getattr(self, name).to(device) for name in ("images", "labels", "mean", "std")
        }
        return dataclasses.replace(self, **tensors)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pixels(Images):
    images: Tensor

    def name(self, index: int) -> str:
        return f"image {index}"

    def read(self, index: int) -> Tensor:
        return self.images[index]


@dataclass(frozen=True, kw_only=True, eq=False)
class FilePart(Part):
    """Images in files, decoded at each use, and normalised by ImageNet's mean and deviation."""

    files: Files
    size: int
    augmentable: bool = True
    _reasons: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", torch.from_numpy(self.files.labels))

    @property
    def unreadable(self) -> tuple[str, ...]:
        return tuple(self._reasons)

    @property
    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        red_green_blue = (IMAGENET_MEAN, IMAGENET_STD)
        mean, std = (255 * torch.tensor(channels).view(3, 1, 1) for channels in red_green_blue)
        return mean, std

    def _load(
        self,
        batches: Sequence[Tensor],
        augment: str,
        seed: tuple[int, ...] | None,
        workers: int,
    ) -> Iterator[Batch]:
        mean, std = self.mean_and_std
        dataset = OneByOne(
            source=self.files,
            labels=self.labels,
            mean=mean,
            std=std,
            augmentation=AUGMENTATIONS[augment](self.size),
            key=seed,
        )
        for loaded in read_batches(dataset, batches, workers=workers):
            self._reasons.update(loaded.unreadable)
            check_unreadable(self._reasons, len(self))
            assert loaded.images is not None, "a batch without images has too many unreadable ones"
            yield loaded.images, loaded.labels

    def select(self, indices: Tensor) -> FilePart:
        return FilePart(
            files=self.files.select(indices.numpy()), size=self.size, augmentable=self.augmentable
        )

    def to(self, device: torch.device | str) -> FilePart:
        return self
