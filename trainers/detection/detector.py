"""torchvision's detectors around a network: which there are, and what determines one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import (
    ExtraFPNBlock,
    LastLevelMaxPool,
    LastLevelP6P7,
)

from search_space.backbones import FeatureMaps
from search_space.errors import UnknownName, UserError
from search_space.network import Network, check_conversion
from search_space.spec import NetworkSpec
from trainers.detection.backbone import Pyramid, choose_maps, with_weights_of
from trainers.keyed import default_generator_kept, seed_of

ASPECTS = (0.5, 1.0, 2.0)
"""Height over width of the anchors."""

SHORT_SIDE, LONG_SIDE = 800, 1333
SMALLEST_ANCHOR = 32
"""At a short side of 800 pixels (FPN, Lin et al., 2017, section 4.1)."""

LEAST_ANCHOR = 4
"""The smallest anchor's side in strides of its map: with less, objects lie between anchors."""

MOST_PIXELS = 16_384


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Everything about a detector but its network and its weights.

    Args:
        framework: A key of :data:`FRAMEWORKS`.
        categories: How many are looked for.
        short_side: Pixels that the shorter side of an image is resized to,
        long_side: unless the longer one would have more than these.
        fpn_channels: Of the pyramid's maps; the hidden layers of Faster R-CNN's box head have four
            times as many.
        anchor: Side of the smallest anchor in pixels; see :func:`anchor_sides`.
        box_samples: Of how many boxes in each image the head of Faster R-CNN learns.
        trained: Whether the network starts from trained weights. Its masks and the statistics of
            its norms then stay as they are; else it condenses as it learns.

    Raises:
        UserError: a value is out of its range.
    """

    framework: str
    categories: int
    short_side: int = SHORT_SIDE
    long_side: int = LONG_SIDE
    fpn_channels: int = 256
    anchor: float | None = None
    box_samples: int = 512
    trained: bool = True

    def __post_init__(self) -> None:
        if self.framework not in FRAMEWORKS:
            raise UnknownName("framework", self.framework, FRAMEWORKS)
        limits = {"categories": 1, "short_side": 32, "long_side": self.short_side}
        for name, least in {**limits, "fpn_channels": 1, "box_samples": 4}.items():
            if not least <= (value := getattr(self, name)) <= MOST_PIXELS:
                raise UserError(
                    f"`{name}` (={value}) must be at least {least}, at most {MOST_PIXELS:,}"
                )
        if self.anchor is not None and not 1 <= self.anchor <= self.long_side:
            raise UserError(
                f"`anchor` (={self.anchor}) must be a side in pixels, from 1 to `long_side`"
                f" (={self.long_side})"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the inverse of :meth:`from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DetectorConfig:
        """What was written down."""
        return cls(**{f.name: data[f.name] for f in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A kind of detector.

    Attributes:
        title: What people call it.
        strides: Of the network's maps that it reads, where there are such.
        learning_rate: The highest of its usual schedule, for 16 images an update.
        extra_maps: How many coarser maps its pyramid adds,
        extra: and what adds them, given the pyramid's channels.
        make: The detector, given the pyramid and the sides of its maps' anchors.
    """

    title: str
    strides: tuple[int, ...]
    learning_rate: float
    extra_maps: int
    extra: Callable[[int], ExtraFPNBlock]
    make: Callable[[Pyramid, Sequence[float], DetectorConfig], nn.Module]


def _faster_rcnn(pyramid: Pyramid, sides: Sequence[float], config: DetectorConfig) -> nn.Module:
    hidden = 4 * config.fpn_channels
    maps = [str(i) for i in range(len(pyramid.body.feature_info.out_indices))]
    detector: nn.Module = FasterRCNN(
        pyramid,
        min_size=config.short_side,
        max_size=config.long_side,
        box_batch_size_per_image=config.box_samples,
        rpn_anchor_generator=_anchors([(side,) for side in sides]),
        box_roi_pool=MultiScaleRoIAlign(featmap_names=maps, output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(config.fpn_channels * 7**2, hidden),
        box_predictor=FastRCNNPredictor(hidden, config.categories + 1),
    )
    return detector


def _retinanet(pyramid: Pyramid, sides: Sequence[float], config: DetectorConfig) -> nn.Module:
    detector: nn.Module = RetinaNet(
        pyramid,
        num_classes=config.categories + 1,
        min_size=config.short_side,
        max_size=config.long_side,
        # Three within each doubling (RetinaNet, Lin et al., 2017, section 4).
        anchor_generator=_anchors([tuple(s * 2 ** (i / 3) for i in range(3)) for s in sides]),
    )
    return detector


def _anchors(sizes: Sequence[tuple[float, ...]]) -> AnchorGenerator:
    return AnchorGenerator(tuple(sizes), (ASPECTS,) * len(sizes))


FRAMEWORKS: dict[str, Framework] = {
    "fasterrcnn": Framework(
        title="Faster R-CNN",
        strides=(4, 8, 16, 32),
        learning_rate=0.02,
        extra_maps=1,
        extra=lambda channels: LastLevelMaxPool(),
        make=_faster_rcnn,
    ),
    "retinanet": Framework(
        title="RetinaNet",
        strides=(8, 16, 32),
        learning_rate=0.01,
        extra_maps=2,
        extra=lambda channels: LastLevelP6P7(channels, channels),
        make=_retinanet,
    ),
}
"""Kinds of detectors by the names that users give them."""


def pyramid_strides(body: FeatureMaps, config: DetectorConfig) -> list[int]:
    """Of all maps that a detector reads, the finest first."""
    strides = list(body.feature_info.reduction())
    coarser = range(1, FRAMEWORKS[config.framework].extra_maps + 1)
    return strides + [strides[-1] << i for i in coarser]


def anchor_sides(strides: Sequence[int], config: DetectorConfig) -> list[float]:
    """The side in pixels of the smallest anchor of each map.

    They grow as strides do. Where the configuration names none, the first is 32 at a short side of
    800 and shrinks with the image, though not below four strides.
    """
    smallest = config.anchor or max(
        SMALLEST_ANCHOR * config.short_side / SHORT_SIDE, LEAST_ANCHOR * strides[0]
    )
    return [smallest * stride / strides[0] for stride in strides]


def build_detector(body: FeatureMaps, config: DetectorConfig) -> nn.Module:
    """torchvision's detector around a network; the new layers draw from torch's default generator.

    Its network is ``backbone.body``.
    """
    framework = FRAMEWORKS[config.framework]
    extra = framework.extra(config.fpn_channels)
    pyramid = Pyramid(body, config.fpn_channels, extra, fixed_norms=config.trained)
    sides = anchor_sides(pyramid_strides(body, config), config)
    return framework.make(pyramid, sides, config)


def new_detector(
    spec: NetworkSpec, config: DetectorConfig, trained: Network | None, *, seed: int
) -> nn.Module:
    """A detector to be trained: the network with its weights or, without any, with random ones in
    masked form; all else random as the seed determines.

    Raises:
        UserError: the network has too few feature maps.
    """
    maps = choose_maps(spec, FRAMEWORKS[config.framework].strides)
    if trained is None:
        generator = torch.Generator().manual_seed(seed)
        body = FeatureMaps(spec, "masked", generator, maps)
    else:
        body = with_weights_of(trained, maps)
    with default_generator_kept():
        torch.default_generator.manual_seed(seed_of(seed))
        return build_detector(body, config)


def condensed_detector(detector: Any) -> nn.Module:
    """A copy in evaluation mode with its network in condensed form, every drop performed.

    Raises:
        RuntimeError: both forms of the network compute different maps: the conversion is wrong.
    """
    condensed = copy.deepcopy(detector).eval()
    masked = condensed.backbone.body
    if masked.form == "condensed":
        return condensed  # type: ignore[no-any-return]
    masked.condense_for_conversion()
    condensed.backbone.body = masked.to_inference()
    side = condensed.backbone.body.spec.image_size
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    image = image.to(next(masked.parameters()).device)
    check_conversion(masked, condensed.backbone.body, image)
    return condensed  # type: ignore[no-any-return]
