"""The images of a part, decoded and mirrored when they are used, with their boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from search_space.errors import UserError
from trainers.detection.coco import CocoPart, Targets
from trainers.images import Unreadable, quiet_decoder, read_rgb
from trainers.keyed import generator_of
from trainers.one_by_one import read_batches

Batch: TypeAlias = tuple[list[Tensor], list[dict[str, Tensor]]]
"""Images ``(3, height, width)``, each of its own size, and the ``boxes`` and ``labels`` of each."""

NOTHING = Targets(boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotated:
    """Some images as bytes with their targets; or why one of them cannot be read."""

    images: list[Tensor]
    targets: list[Targets]
    failure: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedImages(Dataset[Annotated]):
    """Batches by the indices of their images.

    Half of all are mirrored where there is a ``key``: image i as (\\*key, i) determines.
    """

    folder: Path
    files: Sequence[str]
    targets: Sequence[Targets]
    key: tuple[int, ...] | None = None

    @classmethod
    def to_train(cls, part: CocoPart, key: tuple[int, ...]) -> AnnotatedImages:
        """Those with boxes, in the order of ``part.targets``."""
        files = [part.files[image] for image in part.targets]
        return cls(folder=part.folder, files=files, targets=list(part.targets.values()), key=key)

    @classmethod
    def to_judge(cls, part: CocoPart) -> AnnotatedImages:
        """All of them, in the order of ``part.files``."""
        targets = [part.targets.get(image, NOTHING) for image in part.files]
        return cls(folder=part.folder, files=list(part.files.values()), targets=targets)

    def __getitem__(self, indices: Sequence[int]) -> Annotated:
        found = Annotated(images=[], targets=[])
        with quiet_decoder():
            for index in indices:
                file = self.folder / self.files[index]
                try:
                    pixels = torch.from_numpy(np.array(read_rgb(file))).permute(2, 0, 1)
                except Unreadable as error:
                    return Annotated(images=[], targets=[], failure=f"{file}: {error}")
                targets = self.targets[index]
                if self.key is not None and _is_mirrored(*self.key, index):
                    pixels, targets = mirrored(pixels, targets)
                found.images.append(pixels)
                found.targets.append(targets)
        return found


def _is_mirrored(*key: int) -> bool:
    return bool(torch.rand((), generator=generator_of(*key)) < 0.5)


def mirrored(pixels: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    """An image ``(3, height, width)`` and its boxes with left and right exchanged."""
    boxes = targets.boxes.copy()
    boxes[:, [0, 2]] = pixels.shape[2] - targets.boxes[:, [2, 0]]
    return pixels.flip(2), Targets(boxes=boxes, labels=targets.labels)


def load_batches(
    dataset: AnnotatedImages, batches: Sequence[Tensor], *, workers: int, device: torch.device
) -> Iterator[Batch]:
    """Batches on a device, images as fractions of 1.

    Raises:
        UserError: an image cannot be read; the message names it.
    """
    for loaded in read_batches(dataset, batches, workers=workers):
        if loaded.failure:
            raise UserError(f"an image cannot be read: {loaded.failure}; mend or replace it")
        images = [pixels.to(device).float().div_(255) for pixels in loaded.images]
        targets = [
            {
                "boxes": torch.from_numpy(t.boxes).to(device),
                "labels": torch.from_numpy(t.labels).to(device),
            }
            for t in loaded.targets
        ]
        yield images, targets
