"""What the network and the pyramid of a detector cost."""

from __future__ import annotations

import pytest

from search.check import module_macs
from search_space import NetworkSpec, cost, zoo
from search_space.backbones import FeatureMaps
from trainers.detection.cost import detection_cost
from trainers.detection.detector import DetectorConfig

CONFIG = DetectorConfig(framework="fasterrcnn", categories=80)


def test_feature_maps_cost_what_another_library_counts(spec: NetworkSpec) -> None:
    body = FeatureMaps(spec, "condensed").eval()
    assert detection_cost(spec, CONFIG).body == module_macs(body, 224)


def test_a_backbone_costs_the_network_without_its_classifier() -> None:
    spec = zoo("condensenetv2-a")
    price = detection_cost(spec, CONFIG)
    assert cost(spec).macs - price.body == pytest.approx(1_570_400, abs=0)


def test_the_pyramid_is_counted_at_the_size_of_detection(spec: NetworkSpec) -> None:
    price = detection_cost(spec, DetectorConfig(
        framework="fasterrcnn", categories=3, short_side=64, long_side=90, fpn_channels=8
    ))  # fmt: skip
    assert (price.height, price.width) == (64, 96)
    channels = FeatureMaps(spec, "condensed", out_indices=(1, 2, 3, 4)).feature_info.channels()
    positions = [64 * 96 // stride**2 for stride in (4, 8, 16, 32)]
    pyramid = sum(n * (c * 8 + 9 * 8 * 8) for n, c in zip(positions, channels, strict=True))
    body = price.body * 64 * 96 // 224**2
    assert price.pyramid == pytest.approx(body + pyramid, rel=1e-9)


def test_no_weights_are_made_to_count() -> None:
    price = detection_cost(zoo("resnet-50"), CONFIG)
    assert (price.height, price.width) == (800, 1344)
    assert price.pyramid > 20 * price.body
