"""The papers' networks by name: one function per family, one table of all, and those found.

Where paper, code and count disagree, the functions say which of them is followed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import cast

from search_space.blocks import DenseStage, ResidualStage, ShuffleStage
from search_space.errors import UnknownName
from search_space.found import FOUND
from search_space.parts import HeadSpec, StemSpec, TransitionSpec
from search_space.spec import NetworkSpec

_HALVED = TransitionSpec(kind="conv", compression=0.5)
_IMAGENET_STEM = StemSpec(channels=64, kernel=7, stride=2, normed=True, pooled=True)

# --- CondenseNet ----------------------------------------------------------------------------


def condensenet(
    depths: Sequence[int],
    growth_rates: Sequence[int],
    groups: int,
    *,
    image_size: int = 32,
    classes: int = 10,
    head: HeadSpec | None = None,
) -> NetworkSpec:
    """A CondenseNet with G = C = ``groups`` (CondenseNet, table 3 and section 4.1).

    The stem has twice the channels of the first growth rate, with stride 2 on 224 x 224; every
    channel passes through the pooling (fully dense connectivity). The published counts halve the
    classifier on every data set; the paper says so of ImageNet alone, so here only those do.
    """
    return NetworkSpec(
        image_size=image_size,
        classes=classes,
        stem=StemSpec(channels=2 * growth_rates[0], stride=2 if image_size > 32 else 1),
        stages=tuple(
            DenseStage(
                depth=depth,
                growth_rate=growth_rate,
                groups_1x1=groups,
                condense_factor=groups,
                groups_3x3=groups,
            )
            for depth, growth_rate in zip(depths, growth_rates, strict=True)
        ),
        head=head or HeadSpec(),
    )


def _dense_stages(spec: NetworkSpec) -> tuple[DenseStage, ...]:
    return cast(tuple[DenseStage, ...], spec.stages)


def condensenet_imagenet(
    depths: Sequence[int], growth_rates: Sequence[int], groups: int
) -> NetworkSpec:
    """A CondenseNet for ImageNet, whose classifier reads half of the features."""
    halved = HeadSpec(condense_factor=2)
    return condensenet(depths, growth_rates, groups, image_size=224, classes=1000, head=halved)


def condensenet_light(depth: int, growth_rate: int) -> NetworkSpec:
    """A DenseNet with learned group convolutions, in its transitions too (the authors' code).

    Neither growth rate is published. 16 reproduces both printed figures of the 94; nothing does
    those of the 160 (3.1 M parameters, 1084 M): 32 comes nearest (3.15 M, 1137 M).
    """
    stage = DenseStage(
        depth=(depth - 4) // 6,
        growth_rate=growth_rate,
        groups_1x1=4,
        condense_factor=4,
        groups_3x3=4,
    )
    return NetworkSpec(
        image_size=32,
        classes=10,
        stem=StemSpec(channels=2 * growth_rate),
        stages=(stage, stage, stage),
        transition=TransitionSpec(kind="learned", compression=0.5, groups_1x1=4, condense_factor=4),
    )


# --- CondenseNetV2 --------------------------------------------------------------------------


def condensenetv2(
    depths: Sequence[int],
    growth_rates: Sequence[int],
    groups: int,
    *,
    features: int,
    sfr: bool = True,
    se_hs: bool = True,
) -> NetworkSpec:
    """A CondenseNetV2 for ImageNet with G = C = S = ``groups`` (CondenseNetV2, tables 1 and 2).

    Hard-swish from stage 3 and squeeze-excite in stages 4 and 5. The reduction of 1 inside the
    layers, 16 after the pooling, and the width of the hidden layer are in the authors' code only.
    ``sfr`` and ``se_hs`` leave out what the paper's ablations leave out (section 4.4).
    """
    plain = condensenet(depths, growth_rates, groups, image_size=224, classes=1000)
    return plain.replace(
        stages=tuple(
            dataclasses.replace(
                stage,
                sfr="all" if sfr else "none",
                sparse_factor=groups if sfr else 1,
                sfr_groups=groups if sfr else 1,
                se_reduction=1 if se_hs and number >= 4 else 0,
                activation="hard_swish" if se_hs and number >= 3 else "relu",
            )
            for number, stage in enumerate(_dense_stages(plain), start=1)
        ),
        head=HeadSpec(se_reduction=16, features=features)
        if se_hs
        else HeadSpec(features=features, activation="relu"),
    )


def condensenetv2_cifar(layers: int) -> NetworkSpec:
    """A CondenseNetV2 for CIFAR of ``layers`` layers a stage, G = C = S = 4, without
    squeeze-excite and hard-swish (CondenseNetV2, table 6).

    The 110 and 146 of the paper are 12 and 16 layers a stage: three convolutions a layer, and the
    printed parameters (0.48 and 0.78 M) nearly fit. The printed multiply-adds (41 and 62 M)
    cannot be reproduced by anyone: CondenseNet-74, the same without reactivation, has more.
    """
    plain = condensenet((layers,) * 3, (8, 16, 32), 4)
    return plain.replace(
        stages=tuple(
            dataclasses.replace(stage, sfr="all", sparse_factor=4, sfr_groups=4)
            for stage in _dense_stages(plain)
        )
    )


# --- ShuffleNetV2 ---------------------------------------------------------------------------


def _reactivated(stage: ShuffleStage) -> ShuffleStage:
    """The stage with a 3x3 reactivation of one target per group (CondenseNetV2, table 10)."""
    half = stage.channels // 2
    return dataclasses.replace(stage, sfr="all", sparse_factor=half, sfr_groups=half)


def shufflenetv2(widths: Sequence[int], *, sfr: bool = False) -> NetworkSpec:
    """A ShuffleNetV2, with ``sfr`` one whose units of stride 1 reactivate the passing half.

    Reactivation follows CondenseNetV2, section 4.3 and table 10; its code was never released.
    The groups, which are not printed, are as many as the targets, which makes the printed counts.
    """
    stages = tuple(
        ShuffleStage(channels=channels, units=("3",) * depth)
        for channels, depth in zip(widths, (4, 8, 4), strict=True)
    )
    return NetworkSpec(
        image_size=224,
        classes=1000,
        stem=StemSpec(channels=24, stride=2, normed=True, pooled=True),
        stages=tuple(_reactivated(s) for s in stages) if sfr else stages,
        head=HeadSpec(normed=False, conv_features=1024, activation="relu", bias=False),
    )


_PLUS_UNITS = (
    ("3", "3", "xception", "5"),
    ("5", "5", "3", "3"),
    ("7", "3", "7", "5", "5", "3", "7", "3"),
    ("7", "5", "xception", "7"),
)


def shufflenetv2plus(widths: Sequence[int], *, sfr: bool = False) -> NetworkSpec:
    """A ShuffleNetV2+ (the authors' code alone), with ``sfr`` as :func:`shufflenetv2`."""
    stages = tuple(
        ShuffleStage(
            channels=channels,
            units=units,
            activation="hard_swish" if number >= 2 else "relu",
            se_reduction=4 if number >= 3 else 0,
        )
        for number, (channels, units) in enumerate(zip(widths, _PLUS_UNITS, strict=True), start=1)
    )
    return NetworkSpec(
        image_size=224,
        classes=1000,
        stem=StemSpec(channels=16, stride=2, normed=True, activation="hard_swish"),
        stages=tuple(_reactivated(s) for s in stages) if sfr else stages,
        head=HeadSpec(
            normed=False,
            conv_features=1280,
            se_reduction=4,
            se_normed=True,
            features=1280,
            bias=False,
        ),
    )


# --- SparseNet and DenseNet -----------------------------------------------------------------


def _concatenating(
    depth: int, growth_rates: Sequence[int], stem: int, *, bc: bool, fetch: str
) -> NetworkSpec:
    """Three stages of ``depth`` weighted layers in all for CIFAR-100."""
    layers = (depth - 4) // (6 if bc else 3)
    return NetworkSpec(
        image_size=32,
        classes=100,
        stem=StemSpec(channels=stem),
        stages=tuple(
            DenseStage(depth=layers, growth_rate=k, bottleneck=4 if bc else 0, fetch=fetch)
            for k in growth_rates
        ),
        transition=_HALVED if bc else TransitionSpec(kind="conv"),
    )


def sparsenet(
    depth: int, growth_rates: Sequence[int], *, bc: bool = False, stem: int | None = None
) -> NetworkSpec:
    """A SparseNet of ``depth`` weighted layers for CIFAR-100 (SparseNet, table 2).

    The stem has 2k channels: the paper's counts need them, and its author says so in the second
    thread of the code's tracker, though the code as committed has k (give ``stem`` for that). The
    printed k = 12 of the 40 layers and 0.8 M parameters is k = 24 (seventh thread). The printed
    sizes of {32, 64, 128} (27.7 and 16.7 M) cannot be reproduced: it has 28.7 and 17.3 M.
    """
    wide = 2 * growth_rates[0] if stem is None else stem
    return _concatenating(depth, growth_rates, wide, bc=bc, fetch="exponential")


def sparsenet_imagenet(depths: Sequence[int], growth_rate: int, *, grid: int = 3) -> NetworkSpec:
    """A SparseNet for ImageNet (SparseNet, table 4).

    No code was published. A stem of k channels and a classifier that reads a flattened 3x3 grid
    reproduce all four printed parameter counts; ``grid=1`` pools globally.
    """
    return NetworkSpec(
        image_size=224,
        classes=1000,
        stem=dataclasses.replace(_IMAGENET_STEM, channels=growth_rate),
        stages=tuple(
            DenseStage(depth=depth, growth_rate=growth_rate, fetch="exponential")
            for depth in depths
        ),
        transition=_HALVED,
        head=HeadSpec(grid=grid),
    )


def densenet(depth: int, growth_rate: int, *, bc: bool = True) -> NetworkSpec:
    """A DenseNet of ``depth`` weighted layers for CIFAR-100 (DenseNet, section 3 and table 2)."""
    stem = 2 * growth_rate if bc else 16
    return _concatenating(depth, (growth_rate,) * 3, stem, bc=bc, fetch="dense")


def densenet_imagenet(depths: Sequence[int], growth_rate: int = 32) -> NetworkSpec:
    """A DenseNet-BC for ImageNet (DenseNet, table 1)."""
    return NetworkSpec(
        image_size=224,
        classes=1000,
        stem=dataclasses.replace(_IMAGENET_STEM, channels=2 * growth_rate),
        stages=tuple(DenseStage(depth=depth, growth_rate=growth_rate) for depth in depths),
        transition=_HALVED,
    )


# --- Sums -----------------------------------------------------------------------------------


def resnet(depth: int, *, fetch: str = "dense") -> NetworkSpec:
    """A pre-activation ResNet of bottlenecks for CIFAR-100, or with exponential fetch a
    SparseNet[+] (SparseNet, table 2, whose counts are those of 10 classes)."""
    units = (depth - 2) // 9
    return NetworkSpec(
        image_size=32,
        classes=100,
        stem=StemSpec(channels=16),
        stages=tuple(
            ResidualStage(depth=units, channels=channels, stride=stride, fetch=fetch)
            for channels, stride in ((64, 1), (128, 2), (256, 2))
        ),
    )


def resnet_imagenet(depths: Sequence[int]) -> NetworkSpec:
    """A pre-activation ResNet of bottlenecks for ImageNet."""
    return NetworkSpec(
        image_size=224,
        classes=1000,
        stem=StemSpec(channels=64, kernel=7, stride=2, pooled=True),
        stages=tuple(
            ResidualStage(depth=depth, channels=256 << i, stride=2 if i else 1)
            for i, depth in enumerate(depths)
        ),
    )


# --- All of them ----------------------------------------------------------------------------

_CONDENSENET_C = (4, 6, 8, 10, 8), (8, 16, 32, 64, 128)
_V2 = {
    "a": ((1, 1, 4, 6, 8), (8, 8, 16, 32, 64), 8, 828),
    "b": ((2, 4, 6, 8, 6), (6, 12, 24, 48, 96), 6, 1024),
    "c": (*_CONDENSENET_C, 8, 1024),
}
_SHUFFLE_WIDTHS = {"x0.5": (48, 96, 192), "x1.0": (116, 232, 464), "x1.5": (176, 352, 704)}
_PLUS_WIDTHS = {
    "s": (36, 104, 208, 416),
    "m": (48, 128, 256, 512),
    "l": (68, 168, 336, 672),
}
_STEPS = {"k16-32-64": (16, 32, 64), "k32-64-128": (32, 64, 128)}
_IMAGENET_DEPTHS = {
    121: (6, 12, 24, 16),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}

ZOO: dict[str, NetworkSpec] = {
    **{
        f"condensenet-{6 * layers + 2}": condensenet((layers,) * 3, (8, 16, 32), 4)
        for layers in (8, 12, 14, 16, 18, 20)
    },
    "condensenet-182": condensenet((30, 30, 30), (12, 24, 48), 4),
    "condensenet-light-94": condensenet_light(94, 16),
    "condensenet-light-160": condensenet_light(160, 32),
    "condensenet-a": condensenet_imagenet((2, 4, 6, 8, 4), (8, 8, 16, 32, 64), 8),
    "condensenet-b": condensenet_imagenet((2, 4, 6, 8, 6), (6, 12, 24, 48, 96), 6),
    "condensenet-c": condensenet_imagenet(*_CONDENSENET_C, 8),
    "condensenet-c4": condensenet_imagenet(*_CONDENSENET_C, 4),
    **{
        f"condensenetv2-{name}{suffix}": condensenetv2(d, k, g, features=f, **changes)
        for name, (d, k, g, f) in _V2.items()
        for suffix, changes in {
            "": {},
            "-without-sfr": {"sfr": False},
            "-without-se-hs": {"se_hs": False},
        }.items()
    },
    "condensenetv2-110": condensenetv2_cifar(12),
    "condensenetv2-146": condensenetv2_cifar(16),
    **{f"shufflenetv2-{x}": shufflenetv2(w) for x, w in _SHUFFLE_WIDTHS.items()},
    **{f"shufflenetv2plus-{x}": shufflenetv2plus(w) for x, w in _PLUS_WIDTHS.items()},
    **{f"sfr-shufflenetv2-{x}": shufflenetv2(w, sfr=True) for x, w in _SHUFFLE_WIDTHS.items()},
    **{
        f"sfr-shufflenetv2plus-{x}": shufflenetv2plus(_PLUS_WIDTHS[x], sfr=True) for x in ("s", "m")
    },
    **{f"sparsenet-40-k{k}": sparsenet(40, (k,) * 3) for k in (12, 24)},
    **{f"sparsenet-100-k{k}": sparsenet(100, (k,) * 3) for k in (12, 24, 36)},
    **{f"sparsenet-100-{name}": sparsenet(100, ks) for name, ks in _STEPS.items()},
    **{f"sparsenet-bc-100-k{k}": sparsenet(100, (k,) * 3, bc=True) for k in (12, 24, 36)},
    **{f"sparsenet-bc-100-{name}": sparsenet(100, ks, bc=True) for name, ks in _STEPS.items()},
    **{f"sparsenet-bc-{d}-k12": sparsenet(d, (12,) * 3, bc=True) for d in (400, 1001)},
    **{
        f"sparsenet-sum-{depth}": resnet(depth, fetch="exponential")
        for depth in (56, 110, 200, 1001, 2000)
    },
    **{
        f"sparsenet-{name}": sparsenet_imagenet(_IMAGENET_DEPTHS[name], 32)
        for name in (121, 169, 201)
    },
    "sparsenet-201-k48": sparsenet_imagenet(_IMAGENET_DEPTHS[201], 48),
    "densenet-40-k12": densenet(40, 12, bc=False),
    "densenet-100-k12": densenet(100, 12, bc=False),
    "densenet-100-k24": densenet(100, 24, bc=False),
    **{
        f"densenet-bc-{depth}-k{k}": densenet(depth, k)
        for depth, k in ((100, 12), (190, 40), (250, 24), (400, 12), (1001, 12))
    },
    **{f"densenet-{name}": densenet_imagenet(d) for name, d in _IMAGENET_DEPTHS.items()},
    **{f"resnet-{depth}": resnet(depth) for depth in (56, 110, 164, 200, 1001, 2000)},
    "resnet-50": resnet_imagenet((3, 4, 6, 3)),
    **FOUND,
}


def zoo(name: str) -> NetworkSpec:
    """A network of the zoo by name; raises UnknownName with those like it."""
    if name not in ZOO:
        raise UnknownName("network", name, ZOO, "`search models`")
    return ZOO[name]
