"""The papers' networks by name."""

from __future__ import annotations

from collections.abc import Sequence

from search_space.errors import UnknownName
from search_space.spec import HeadSpec, NetworkSpec, StageSpec, StemSpec, TransitionSpec


def condensenet(
    depths: Sequence[int],
    growth_rates: Sequence[int],
    groups: int,
    *,
    image_size: int,
    classes: int,
    classifier_condense_factor: int = 1,
) -> NetworkSpec:
    """A CondenseNet with G = C = ``groups`` (CondenseNet, table 3 and section 4.1).

    The stem has twice the channels of the first growth rate, with stride 2 on 224 x 224; every
    channel passes through the pooling (fully dense connectivity).
    """
    return NetworkSpec(
        image_size=image_size,
        classes=classes,
        stem=StemSpec(channels=2 * growth_rates[0], stride=2 if image_size > 32 else 1),
        stages=tuple(
            StageSpec(
                depth=depth,
                growth_rate=growth_rate,
                groups_1x1=groups,
                condense_factor=groups,
                groups_3x3=groups,
            )
            for depth, growth_rate in zip(depths, growth_rates, strict=True)
        ),
        head=HeadSpec(condense_factor=classifier_condense_factor),
    )


def condensenetv2(
    depths: Sequence[int], growth_rates: Sequence[int], groups: int, *, features: int
) -> NetworkSpec:
    """A CondenseNetV2 for ImageNet with G = C = S = ``groups`` (CondenseNetV2, tables 1 and 2).

    Hard-swish from stage 3 and squeeze-excite in stages 4 and 5. The reduction of 1 inside the
    layers, 16 after the pooling, and the width of the hidden layer are in the authors' code only.
    """
    return NetworkSpec(
        image_size=224,
        classes=1000,
        stem=StemSpec(channels=2 * growth_rates[0], stride=2),
        stages=tuple(
            StageSpec(
                depth=depth,
                growth_rate=growth_rate,
                groups_1x1=groups,
                condense_factor=groups,
                groups_3x3=groups,
                sfr="all",
                sparse_factor=groups,
                sfr_groups=groups,
                se_reduction=1 if number >= 4 else 0,
                activation="hard_swish" if number >= 3 else "relu",
            )
            for number, (depth, growth_rate) in enumerate(
                zip(depths, growth_rates, strict=True), start=1
            )
        ),
        head=HeadSpec(se_reduction=16, features=features),
    )


def sparsenet_bc(depth: int, growth_rate: int, *, classes: int) -> NetworkSpec:
    """A SparseNet-BC of ``depth`` weighted layers for 32 x 32 (SparseNet, table 2).

    The stem has 2k channels: the paper's counts need them, and its author says so in the second
    thread of the code's tracker, though the code as committed has k.
    """
    layers = (depth - 4) // 6
    stage = StageSpec(depth=layers, growth_rate=growth_rate, fetch="exponential", fetch_base=2)
    return NetworkSpec(
        image_size=32,
        classes=classes,
        stem=StemSpec(channels=2 * growth_rate),
        stages=(stage, stage, stage),
        transition=TransitionSpec(kind="conv", compression=0.5),
    )


_IMAGENET_DEPTHS = (4, 6, 8, 10, 8)
_IMAGENET_GROWTH_RATES = (8, 16, 32, 64, 128)

ZOO: dict[str, NetworkSpec] = {
    "condensenet-86": condensenet((14, 14, 14), (8, 16, 32), 4, image_size=32, classes=10),
    "condensenet-a": condensenet(
        (2, 4, 6, 8, 4),
        (8, 8, 16, 32, 64),
        8,
        image_size=224,
        classes=1000,
        classifier_condense_factor=2,
    ),
    "condensenet-b": condensenet(
        (2, 4, 6, 8, 6),
        (6, 12, 24, 48, 96),
        6,
        image_size=224,
        classes=1000,
        classifier_condense_factor=2,
    ),
    "condensenet-c": condensenet(
        _IMAGENET_DEPTHS,
        _IMAGENET_GROWTH_RATES,
        8,
        image_size=224,
        classes=1000,
        classifier_condense_factor=2,
    ),
    "condensenet-c4": condensenet(
        _IMAGENET_DEPTHS,
        _IMAGENET_GROWTH_RATES,
        4,
        image_size=224,
        classes=1000,
        classifier_condense_factor=2,
    ),
    "condensenetv2-a": condensenetv2((1, 1, 4, 6, 8), (8, 8, 16, 32, 64), 8, features=828),
    "condensenetv2-b": condensenetv2((2, 4, 6, 8, 6), (6, 12, 24, 48, 96), 6, features=1024),
    "condensenetv2-c": condensenetv2(_IMAGENET_DEPTHS, _IMAGENET_GROWTH_RATES, 8, features=1024),
    "sparsenet-bc-100-k12": sparsenet_bc(100, 12, classes=100),
    "sparsenet-bc-100-k24": sparsenet_bc(100, 24, classes=100),
}


def zoo(name: str) -> NetworkSpec:
    """A network of the zoo by name; raises UnknownName listing the known ones."""
    if name not in ZOO:
        raise UnknownName("network", name, ZOO)
    return ZOO[name]
