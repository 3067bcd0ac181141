"""What the network and the pyramid of a detector cost, in multiply-adds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_space.backbones import FeatureMaps
from search_space.spec import NetworkSpec
from trainers.detection.backbone import Pyramid, choose_maps
from trainers.detection.detector import FRAMEWORKS, DetectorConfig

CLASSIFIED_SIZE = 224
"""Pixels that papers state a backbone's cost at (CondenseNetV2, table 7)."""

MULTIPLE = 32
"""torchvision's detectors fill images up to a multiple of these pixels."""


@dataclass(frozen=True, kw_only=True)
class DetectionCost:
    """Multiply-adds of convolutions and linear layers, the network in condensed form.

    Args:
        body: Of the feature maps at 224 x 224, without a classifier.
        pyramid: Of the feature maps and the pyramid on an image of ``height`` x ``width``; what
            finds boxes in it, which depends on the image, is not counted.
        height: The short side, filled up to a multiple of 32.
        width: The long side likewise.
    """

    body: int
    pyramid: int
    height: int
    width: int


def detection_cost(spec: NetworkSpec, config: DetectorConfig) -> DetectionCost:
    """Counted on tensors without memory, so that nothing is computed."""
    framework = FRAMEWORKS[config.framework]
    maps = choose_maps(spec, framework.strides)
    with torch.device("meta"):
        body = FeatureMaps(spec, "condensed", out_indices=maps, initialised=False).eval()
        extra = framework.extra(config.fpn_channels)
        pyramid = Pyramid(body, config.fpn_channels, extra, fixed_norms=True).eval()
    height, width = (
        MULTIPLE * math.ceil(side / MULTIPLE) for side in (config.short_side, config.long_side)
    )
    return DetectionCost(
        body=_macs(body, CLASSIFIED_SIZE, CLASSIFIED_SIZE),
        pyramid=_macs(pyramid, height, width),
        height=height,
        width=width,
    )


def _macs(module: nn.Module, height: int, width: int) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.empty(1, 3, height, width, device="meta"))
    return int(counter.get_total_flops()) // 2
