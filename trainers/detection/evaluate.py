"""The mean average precision of a detector, computed by COCO's own code."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from search_space.optional import import_optional
from trainers.detection.coco import CocoPart
from trainers.detection.images import AnnotatedImages, load_batches
from trainers.evaluate import evaluation_mode
from trainers.order import in_order


@dataclass(frozen=True, kw_only=True)
class Precision:
    """What a detector is worth on one part of a data set: COCO's figures, as fractions.

    ``mean_ap`` averages over overlaps (intersection over union) from 0.5 to 0.95 and over
    categories, ``ap50`` and ``ap75`` are those at one overlap, ``small``, ``medium`` and ``large``
    those of objects below 32 x 32 pixels, below 96 x 96 and above; None where there is no object.
    """

    mean_ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    images: int


def require_pycocotools() -> None:
    """Raises UserError where COCO's code is not installed; the message says how to install it."""
    import_optional("pycocotools.coco", extra="detection")


@torch.no_grad()
def evaluate(
    detector: nn.Module, part: CocoPart, *, batch_size: int, device: torch.device, workers: int = 0
) -> Precision:
    """COCO's figures of a detector on all images of a part.

    Raises:
        UserError: an image cannot be read, or pycocotools is not installed.
    """
    require_pycocotools()
    found: list[dict[str, Any]] = []
    ids, categories = list(part.files), list(part.categories)
    with evaluation_mode(detector):
        order = in_order(len(part), batch_size)
        dataset = AnnotatedImages.to_judge(part)
        batches = load_batches(dataset, order, workers=workers, device=device)
        for indices, (images, _) in zip(order, batches, strict=True):
            for index, boxes in zip(indices.tolist(), detector(images), strict=True):
                found += _detections(ids[index], boxes, categories)
    return precision(part, found)


def _detections(
    image: int, boxes: Mapping[str, Tensor], categories: list[int]
) -> Iterator[dict[str, Any]]:
    """COCO's records of the boxes found in one image."""
    corners, labels, scores = (boxes[name].tolist() for name in ("boxes", "labels", "scores"))
    for (left, top, right, bottom), label, score in zip(corners, labels, scores, strict=True):
        if label:  # what RetinaNet may call background is no object
            yield {
                "image_id": image,
                "category_id": categories[label - 1],
                "bbox": [left, top, right - left, bottom - top],
                "score": score,
            }


def precision(part: CocoPart, found: list[dict[str, Any]]) -> Precision:
    """COCO's figures of detections in COCO's form of results.

    Crowds and what is found in them count neither way.
    """
    with _silence():
        coco, judge = (
            import_optional(f"pycocotools.{name}", extra="detection")
            for name in ("coco", "cocoeval")
        )
        truth = coco.COCO()
        truth.dataset = {
            "images": [{"id": image} for image in part.files],
            "categories": [{"id": i, "name": name} for i, name in part.categories.items()],
            # COCO's code takes an object whose id is 0 for one that nothing was matched with.
            "annotations": [{**a, "id": i} for i, a in enumerate(part.annotations, start=1)],
        }
        truth.createIndex()
        results = truth.loadRes(found) if found else _no_results(coco, truth)
        judged = judge.COCOeval(truth, results, "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    # It says -1 where there is nothing to find.
    figures = [None if value < 0 else float(value) for value in judged.stats[:6]]
    names = ("mean_ap", "ap50", "ap75", "small", "medium", "large")
    return Precision(**dict(zip(names, figures, strict=True)), images=len(part))


def _no_results(coco: Any, truth: Any) -> Any:
    """What ``loadRes`` would make of an empty list, which it does not take."""
    results = coco.COCO()
    results.dataset = {**truth.dataset, "annotations": []}
    results.createIndex()
    return results


@contextmanager
def _silence() -> Iterator[None]:
    """It prints what it does."""
    with redirect_stdout(io.StringIO()):
        yield
