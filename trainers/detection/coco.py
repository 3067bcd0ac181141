"""Data sets in the layout of COCO: boxes by image, as they are trained on and judged by.

::

    PATH/annotations/instances_train2017.json    PATH/train2017/FILE
    PATH/annotations/instances_val2017.json      PATH/val2017/FILE
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_space.budget import counted
from search_space.digests import short_hash
from search_space.errors import UserError, shown
from search_space.reading import parse_json
from trainers.images import shortened

PARTS = ("train2017", "val2017")
"""What is trained on, and what is judged by."""

LEAST_SIDE = 1e-3
"""A box with a shorter side, in pixels of its image, has no inside that could be learned."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """The objects of one image: ``boxes`` ``(n, 4)`` as left, top, right, bottom in pixels, and
    ``labels`` ``(n,)``, places among the categories, from 1."""

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoPart:
    """One part of a data set.

    Attributes:
        name: Such as ``train2017``.
        folder: Where its files are.
        files: Their names, by the id of the image, in ascending order of ids.
        sizes: Width and height of each in pixels, as they are written down.
        categories: Names of what is looked for, by ids that may have gaps, in ascending order.
        annotations: As they were read, crowds and degenerate boxes included.
    """

    name: str
    folder: Path
    files: Mapping[int, str]
    sizes: Mapping[int, tuple[float, float]]
    categories: Mapping[int, str]
    annotations: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def targets(self) -> dict[int, Targets]:
        """By image, what is trained on: neither crowds nor boxes without an inside; images
        without any are left out, as is usual."""
        labels = {category: i for i, category in enumerate(self.categories, start=1)}
        found: dict[int, list[tuple[list[float], int]]] = {}
        for annotation in self.annotations:
            box = _corners(annotation["bbox"], *self.sizes[annotation["image_id"]])
            if not annotation["iscrowd"] and box is not None:
                objects = found.setdefault(annotation["image_id"], [])
                objects.append((box, labels[annotation["category_id"]]))
        return {
            image: Targets(
                boxes=np.array([box for box, _ in found[image]], np.float32),
                labels=np.array([label for _, label in found[image]], np.int64),
            )
            for image in self.files
            if image in found
        }

    @property
    def note(self) -> str:
        """What the part holds, in a line."""
        kinds = Counter(
            "crowds" if annotation["iscrowd"] else "boxes" for annotation in self.annotations
        )
        used = sum(len(targets.labels) for targets in self.targets.values())
        remarks = [
            f"{len(self) - len(self.targets):,} images without a box",
            f"{kinds['crowds']:,} crowds",
            f"{kinds['boxes'] - used:,} boxes without an inside",
        ]
        left_out = [text for text in remarks if not text.startswith("0 ")]
        return (
            f"{counted(len(self), 'image')} of {self.folder}, {used:,} boxes,"
            f" {len(self.categories):,} categories"
            + (f"; not trained on: {', '.join(left_out)}" if left_out else "")
        )

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that other files, boxes or categories would change."""
        content = [dict(self.files), dict(self.categories), self.annotations]
        return short_hash([json.dumps(content).encode()])


def coco_path(data: str) -> Path:
    """The folder of ``coco:PATH``; raises UserError where it is none."""
    kind, _, path = data.partition(":")
    if kind != "coco" or not path:
        raise UserError(
            f"--data {data!r} must be coco:PATH, where PATH holds annotations/"
            f"instances_{PARTS[0]}.json, annotations/instances_{PARTS[1]}.json and the images in"
            f" {PARTS[0]} and {PARTS[1]}"
        )
    return Path(path)


def load_coco(root: Path, part: str) -> CocoPart:
    """One part of a data set; its images are decoded when they are used.

    Raises:
        UserError: a file is missing, or the annotations are none or contradict themselves; the
            message names the file and the entry.
    """
    file = root / "annotations" / f"instances_{part}.json"
    if not file.is_file():
        raise UserError(
            f"{file} was looked for and does not exist; --data coco:PATH looks for"
            f" PATH/annotations/instances_{part}.json and the images in PATH/{part}"
        )
    return _Reader(file=file, folder=root / part).read(part)


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads one file of annotations, and complains of it."""

    file: Path
    folder: Path

    def read(self, part: str) -> CocoPart:
        content = self._content()
        images, categories = self._by_id(content["images"]), self._by_id(content["categories"])
        files = {i: self._word(image, "file_name") for i, image in images.items()}
        self._check_files(files)
        return CocoPart(
            name=part,
            folder=self.folder,
            files=files,
            sizes={
                i: (self._number(image, "width"), self._number(image, "height"))
                for i, image in images.items()
            },
            categories={i: self._word(category, "name") for i, category in categories.items()},
            annotations=tuple(
                self._annotation(annotation, images, categories)
                for annotation in self._by_id(content["annotations"]).values()
            ),
        )

    def _wrong(self, entry: object, rule: str) -> UserError:
        return UserError(f"{self.file}: {shown(entry)} {rule}")

    def _content(self) -> dict[str, list[Any]]:
        try:
            content = parse_json(self.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, UserError) as error:
            raise UserError(f"{self.file} cannot be read: {error}") from None
        for name in ("images", "annotations", "categories"):
            if not isinstance(content, dict) or not isinstance(content.get(name), list):
                raise UserError(f"{self.file} must hold a list `{name}`, as COCO's files do")
            if name != "annotations" and not content[name]:
                raise UserError(f"{self.file}: `{name}` must hold at least one entry")
        return dict(content)

    def _by_id(self, entries: list[Any]) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
                raise self._wrong(entry, "must have a whole number as `id`")
            if entry["id"] in found:
                raise self._wrong(entry, f"has the `id` (={entry['id']}) of another entry")
            found[entry["id"]] = entry
        return dict(sorted(found.items()))

    def _word(self, entry: dict[str, Any], name: str) -> str:
        value = entry.get(name)
        if not isinstance(value, str) or not value:
            raise self._wrong(entry, f"must have a word as `{name}`")
        return value

    def _number(self, entry: dict[str, Any], name: str) -> float:
        value: Any = entry.get(name)
        if not _is_number(value) or value <= 0:
            raise self._wrong(entry, f"must have a number above 0 as `{name}`")
        return float(value)

    def _annotation(
        self,
        entry: dict[str, Any],
        images: Mapping[int, object],
        categories: Mapping[int, object],
    ) -> dict[str, Any]:
        """What is used of an annotation; COCO gives the area of the mask, others may give none."""
        for name, ids in (("image_id", images), ("category_id", categories)):
            if not isinstance(entry.get(name), int) or entry[name] not in ids:
                raise self._wrong(entry, f"has a `{name}` that no entry has as its `id`")
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise self._wrong(entry, "must have left, top, width and height as `bbox`")
        area = entry.get("area", box[2] * box[3])
        if not _is_number(area):
            raise self._wrong(entry, "must have a number as `area`")
        return {
            **{name: entry[name] for name in ("id", "image_id", "category_id")},
            "bbox": [float(x) for x in box],
            "area": area,
            "iscrowd": int(bool(entry.get("iscrowd", 0))),
        }

    def _check_files(self, files: Mapping[int, str]) -> None:
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}, the folder of the images, does not exist")
        there = {entry.name for entry in os.scandir(self.folder)}
        missing = [
            name
            for name in files.values()
            if name not in there and not (self.folder / name).is_file()
        ]
        if missing:
            raise UserError(
                f"{counted(len(missing), 'image')} that {self.file} names"
                f" {'is' if len(missing) == 1 else 'are'} not in {self.folder}:"
                f" {shortened(missing)}; put them there, or take them out of the annotations"
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value is not True


def _corners(box: list[float], width: float, height: float) -> list[float] | None:
    """Left, top, right and bottom inside the image; None where nothing is left of the box."""
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(width, box[0] + box[2]), min(height, box[1] + box[3])
    inside = right - left >= LEAST_SIDE and bottom - top >= LEAST_SIDE
    return [left, top, right, bottom] if inside else None


def check_same_categories(train: CocoPart, other: CocoPart) -> None:
    """Raises UserError where two parts look for different things."""
    if dict(train.categories) != dict(other.categories):
        odd = sorted(set(train.categories.items()) ^ set(other.categories.items()))
        raise UserError(
            f"{train.folder} and {other.folder} must have the same categories; only in one of"
            f" them: {shortened([f'{name} ({i})' for i, name in odd])}"
        )
