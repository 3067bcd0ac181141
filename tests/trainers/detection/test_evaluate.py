"""COCO's figures of detections that one can count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import search_space.optional
from search_space.errors import UserError
from trainers.detection.coco import load_coco
from trainers.detection.evaluate import evaluate, precision

WriteCoco = Callable[..., Path]


def box(bbox: list[float], **changes: Any) -> dict[str, Any]:
    return {"id": 0, "image_id": 7, "category_id": 1, "bbox": bbox, **changes}


def found(bbox: list[float], score: float = 0.9, **changes: Any) -> dict[str, Any]:
    return {"image_id": 7, "category_id": 1, "bbox": bbox, "score": score, **changes}


@pytest.fixture
def part(write_coco: WriteCoco) -> Any:
    annotations = [box([0, 0, 10, 10]), box([20, 0, 10, 10], id=1, category_id=90)]
    return load_coco(write_coco(annotations=annotations), "val2017")


def test_what_is_found_exactly_counts_fully(part: Any) -> None:
    both = [found([0, 0, 10, 10]), found([20, 0, 10, 10], category_id=90)]
    worth = precision(part, both)
    assert (worth.mean_ap, worth.ap50, worth.ap75, worth.small) == pytest.approx((1, 1, 1, 1))
    assert (worth.medium, worth.large, worth.images) == (None, None, 2)


def test_half_of_the_categories_is_half(part: Any) -> None:
    assert precision(part, [found([0, 0, 10, 10])]).mean_ap == pytest.approx(0.5)


def test_the_overlap_decides(part: Any) -> None:
    # 6/10 of the box: right at overlaps of 0.5, 0.55 and 0.6, of ten.
    worth = precision(part, [found([0, 0, 10, 6.05])])
    assert worth.ap50 == pytest.approx(0.5)
    assert worth.mean_ap == pytest.approx(0.5 * 3 / 10)


def test_nothing_found_is_nothing(part: Any) -> None:
    assert precision(part, []).mean_ap == 0


def test_nothing_to_find_has_no_figure(write_coco: WriteCoco) -> None:
    part = load_coco(write_coco(annotations=[]), "val2017")
    assert precision(part, [found([0, 0, 10, 10])]).mean_ap is None


def test_what_is_found_in_a_crowd_counts_neither_way(write_coco: WriteCoco) -> None:
    annotations = [box([0, 0, 10, 10]), box([20, 0, 20, 20], id=1, iscrowd=1)]
    part = load_coco(write_coco(annotations=annotations), "val2017")
    in_crowd = found([22, 2, 5, 5], score=0.99)
    assert precision(part, [found([0, 0, 10, 10]), in_crowd]).mean_ap == pytest.approx(1)
    beside = found([0, 12, 5, 5], score=0.99)
    assert precision(part, [found([0, 0, 10, 10]), beside]).mean_ap == pytest.approx(0.5)


class Oracle(nn.Module):
    """Finds the object of the first category in the 40 x 20 image."""

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        assert not self.training
        return [
            {
                "boxes": torch.tensor([[0.0, 0, 10, 10], [0, 0, 9, 9]])[: 2 * (x.shape[2] == 40)],
                "labels": torch.tensor([1, 0])[: 2 * (x.shape[2] == 40)],
                "scores": torch.tensor([0.9, 0.8])[: 2 * (x.shape[2] == 40)],
            }
            for x in images
        ]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_detector_is_judged_image_by_image(part: Any, batch_size: int) -> None:
    detector = Oracle().train()
    worth = evaluate(detector, part, batch_size=batch_size, device=torch.device("cpu"))
    assert worth.mean_ap == pytest.approx(0.5)
    assert detector.training


def test_without_pycocotools_the_extra_is_named(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(search_space.optional.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"pycocotools.*condensed-search\[detection\]"):
        precision(part, [])
