"""torchvision's detectors around a network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from search_space import NetworkSpec, zoo
from search_space.errors import UnknownName, UserError
from search_space.network import Network
from trainers.detection.detector import (
    FRAMEWORKS,
    DetectorConfig,
    anchor_sides,
    build_detector,
    condensed_detector,
    new_detector,
    pyramid_strides,
)

SMALL = {"categories": 3, "short_side": 64, "long_side": 96, "fpn_channels": 8}


def small(framework: str, **changes: Any) -> DetectorConfig:
    return DetectorConfig(framework=framework, **{**SMALL, **changes})


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_a_detector_is_built_and_steps_once(name: str, form: str, trained: Network) -> None:
    source = trained if form == "masked" else trained.to_inference()
    detector = new_detector(trained.spec, small(name), source, seed=0).train()
    images = [torch.rand(3, 50, 70), torch.rand(3, 64, 64)]
    targets = [
        {"boxes": torch.tensor([[5.0, 5, 40, 45]]), "labels": torch.tensor([3])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    loss = sum(detector(images, targets).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in detector.backbone.fpn.parameters())
    found = detector.eval()(images)
    assert [set(boxes) for boxes in found] == [{"boxes", "labels", "scores"}] * 2


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_condensed_detector_finds_the_same(name: str, trained: Network) -> None:
    detector = new_detector(trained.spec, small(name), trained, seed=0).eval()
    condensed = condensed_detector(detector)
    assert condensed.backbone.body.form == "condensed"
    assert detector.backbone.body.form == "masked"
    images = [torch.rand(3, 50, 70)]
    maps, others = (d.backbone(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
                    for d in (detector, condensed))  # fmt: skip
    for key, x in maps.items():
        torch.testing.assert_close(others[key], x, rtol=1e-4, atol=1e-5)
    assert len(condensed(images)) == 1
    assert condensed_detector(condensed).backbone.body.form == "condensed"


def test_the_seed_determines_all_weights(spec: NetworkSpec) -> None:
    config = small("fasterrcnn", trained=False)
    one, same, other = (
        new_detector(spec, config, None, seed=seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    changed = {name.split(".")[0] for name in one if not torch.equal(one[name], other[name])}
    assert changed == {"backbone", "rpn", "roi_heads"}


@pytest.mark.parametrize(
    ("name", "short_side", "strides", "sides"),
    [
        ("fasterrcnn", 800, [4, 8, 16, 32, 64], [32, 64, 128, 256, 512]),
        ("fasterrcnn", 600, [4, 8, 16, 32, 64], [24, 48, 96, 192, 384]),
        ("fasterrcnn", 128, [4, 8, 16, 32, 64], [16, 32, 64, 128, 256]),
        ("retinanet", 800, [8, 16, 32, 64, 128], [32, 64, 128, 256, 512]),
        ("retinanet", 128, [8, 16, 32, 64, 128], [32, 64, 128, 256, 512]),
    ],
)
def test_anchors_follow_the_size_of_images(
    name: str, short_side: int, strides: list[int], sides: list[float], trained: Network
) -> None:
    config = small(name, short_side=short_side, long_side=1333)
    body = new_detector(trained.spec, config, trained, seed=0).backbone.body
    assert pyramid_strides(body, config) == strides
    assert anchor_sides(strides, config) == sides
    assert anchor_sides(strides, small(name, anchor=10))[:2] == [10, 20]


def test_a_network_for_small_images_has_fewer_maps() -> None:
    config = small("fasterrcnn", trained=False)
    detector = new_detector(zoo("condensenet-86"), config, None, seed=0).eval()
    assert pyramid_strides(detector.backbone.body, config) == [2, 4, 8]
    assert len(detector([torch.rand(3, 64, 64)])) == 1


def test_torchvision_reads_as_many_maps_as_there_are_anchors(trained: Network) -> None:
    for name in FRAMEWORKS:
        detector = new_detector(trained.spec, small(name), trained, seed=0)
        maps = detector.backbone(torch.zeros(1, 3, 64, 64))
        generator = detector.rpn.anchor_generator if name == "fasterrcnn" else (
            detector.anchor_generator)  # fmt: skip
        assert len(maps) == len(generator.sizes) == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"categories": 0},
        {"short_side": 31},
        {"long_side": 63},
        {"long_side": 10**6},
        {"fpn_channels": 0},
        {"anchor": 0.5},
        {"anchor": 97},
        {"box_samples": 3},
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, float]) -> None:
    (name,) = changes
    with pytest.raises(UserError, match=f"`{name}`"):
        small("retinanet", **changes)


def test_unknown_frameworks_are_refused() -> None:
    with pytest.raises(UnknownName, match="known: fasterrcnn, retinanet"):
        small("ssd")


def test_a_configuration_is_written_and_read() -> None:
    config = small("retinanet", anchor=12.5)
    assert DetectorConfig.from_dict(config.to_dict()) == config


def test_building_leaves_torchs_generator_as_it_was(spec: NetworkSpec) -> None:
    before = torch.default_generator.get_state()
    detector = new_detector(spec, small("retinanet", trained=False), None, seed=0)
    assert torch.equal(torch.default_generator.get_state(), before)
    assert build_detector(detector.backbone.body, small("fasterrcnn")) is not detector
