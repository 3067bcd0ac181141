"""Images with their boxes, as they are read for training and for judging."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from search_space.errors import UserError
from trainers.detection.coco import Targets, load_coco
from trainers.detection.images import AnnotatedImages, load_batches, mirrored

WriteCoco = Callable[..., Path]
CPU = torch.device("cpu")


def test_an_image_is_mirrored_with_its_boxes() -> None:
    pixels = torch.zeros(3, 2, 10)
    pixels[:, :, 1:4] = 1
    targets = Targets(boxes=np.array([[1, 0, 4, 2]], np.float32), labels=np.array([5]))
    flipped, moved = mirrored(pixels, targets)
    assert moved.boxes.tolist() == [[6, 0, 9, 2]]
    assert moved.labels.tolist() == [5]
    assert flipped[0, 0].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 0]


def test_images_keep_their_sizes_and_those_without_boxes_are_judged(write_coco: WriteCoco) -> None:
    part = load_coco(write_coco(), "val2017")
    dataset = AnnotatedImages.to_judge(part)
    ((images, targets),) = load_batches(dataset, [torch.arange(2)], workers=0, device=CPU)
    assert [tuple(x.shape) for x in images] == [(3, 10, 10), (3, 20, 40)]
    assert [tuple(t["boxes"].shape) for t in targets] == [(0, 4), (1, 4)]
    assert 0 <= float(images[0].min()) < float(images[0].max()) <= 1


def test_training_leaves_out_images_without_boxes_and_mirrors_half(shapes: Path) -> None:
    part = load_coco(shapes, "train2017")
    stored = AnnotatedImages.to_judge(part)
    ((plain, _),) = load_batches(stored, [torch.arange(6)], workers=0, device=CPU)
    flips = []
    for epoch in range(20):
        dataset = AnnotatedImages.to_train(part, (0, epoch))
        ((images, _),) = load_batches(dataset, [torch.arange(6)], workers=0, device=CPU)
        for image, other in zip(images, plain, strict=True):
            assert torch.equal(image, other) or torch.equal(image, other.flip(2))
            flips.append(not torch.equal(image, other))
    assert 40 <= sum(flips) <= 80


def test_only_images_with_boxes_are_trained_on(write_coco: WriteCoco) -> None:
    dataset = AnnotatedImages.to_train(load_coco(write_coco(), "val2017"), (0, 0))
    assert list(dataset.files) == ["a.png"]


def test_an_image_that_cannot_be_read_is_named(write_coco: WriteCoco) -> None:
    root = write_coco()
    (root / "val2017" / "b.png").write_bytes(b"no image")
    dataset = AnnotatedImages.to_judge(load_coco(root, "val2017"))
    with pytest.raises(UserError, match=r"an image cannot be read: .*b\.png"):
        list(load_batches(dataset, [torch.arange(2)], workers=0, device=CPU))


def test_other_processes_read_the_same(shapes: Path) -> None:
    dataset = AnnotatedImages.to_train(load_coco(shapes, "train2017"), (0, 0))
    batches = [torch.tensor([1, 0]), torch.tensor([2])]
    here, there = (
        list(load_batches(dataset, batches, workers=workers, device=CPU)) for workers in (0, 1)
    )
    for (images, targets), (others, other_targets) in zip(here, there, strict=True):
        assert all(map(torch.equal, images, others))
        for one, other in zip(targets, other_targets, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in ("boxes", "labels"))
