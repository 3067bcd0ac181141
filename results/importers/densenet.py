"""DenseNets in torchvision's names, which timm shares: pretrained weights are published in them.

::

    features.{conv0,norm0}
    features.denseblockI.denselayerJ.{norm1,conv1,norm2,conv2}    published files: norm.1, conv.1
    features.transitionI.{norm,conv}
    features.norm5, classifier

Both concatenate oldest first, as here.
"""

from __future__ import annotations

import re

from results.importers.checkpoint import Checkpoint
from results.importers.imported import (
    Imported,
    Overrides,
    per_stage,
    ratio,
    renamed_state,
    stem_weight,
    transition_spec,
)
from search_space import DenseStage, NetworkSpec, StemSpec

IMAGE_SIZE = 224
STEM_STRIDE = 2
NAMES = {
    r"stem\.conv": "features.conv0",
    r"stem\.conv_norm": "features.norm0",
    r"stage(\d+)_layer(\d+)\.reduce_norm": r"features.denseblock\1.denselayer\2.norm1",
    r"stage(\d+)_layer(\d+)\.reduce": r"features.denseblock\1.denselayer\2.conv1",
    r"stage(\d+)_layer(\d+)\.conv_norm": r"features.denseblock\1.denselayer\2.norm2",
    r"stage(\d+)_layer(\d+)\.conv": r"features.denseblock\1.denselayer\2.conv2",
    r"transition(\d+)\.reduce_norm": r"features.transition\1.norm",
    r"transition(\d+)\.reduce": r"features.transition\1.conv",
    r"head\.final_norm": "features.norm5",
    r"head\.classifier": "classifier",
}
"""Their name for each module of ours."""


def recognises(c: Checkpoint) -> bool:
    return any(_layer(1, 1, f"conv{dot}2.weight") in c for dot in ("", "."))


def read(c: Checkpoint, overrides: Overrides) -> Imported:
    """The network and its weights; raises UserError where the tensors are no such network."""
    dot = "." if _layer(1, 1, "conv.2.weight") in c else ""
    stem = stem_weight(c, "features.conv0.weight")
    stages, widths = [], []
    depths = c.depths(r"features\.denseblock(\d+)\.denselayer(\d+)\.")
    for number, depth in enumerate(depths, start=1):
        name = _layer(number, 1, f"conv{dot}2.weight")
        growth_rate, inner = c.take(name, None, None, 3, 3).shape[:2]
        bottleneck = ratio(inner, growth_rate, f"`{name}`")
        stages.append(DenseStage(depth=depth, growth_rate=growth_rate, bottleneck=bottleneck))
        if number < len(depths):
            weight = c.take(f"features.transition{number}.conv.weight", None, None, 1, 1)
            widths.append((weight.shape[1], weight.shape[0]))
    classes = c.take("classifier.weight", None, None).shape[0]
    image_size = overrides.image_size or IMAGE_SIZE
    stride = overrides.stem_stride or STEM_STRIDE
    spec = NetworkSpec(
        image_size=image_size,
        image_channels=stem.shape[1],
        classes=classes,
        stem=StemSpec(
            channels=stem.shape[0], kernel=stem.shape[2], stride=stride, normed=True, pooled=True
        ),
        stages=tuple(stages),
        transition=transition_spec(widths),
    )

    def theirs(ours: str) -> str:
        match, name = next((m, n) for p, n in NAMES.items() if (m := re.fullmatch(p, ours)))
        return re.sub(r"(norm|conv)([12])$", rf"\1{dot}\2", match.expand(name))

    return Imported(
        spec=spec,
        form="masked",
        state_dict=renamed_state(c, spec, theirs),
        inferred=(
            per_stage("depth", [s.depth for s in stages]),
            per_stage("growth rate", [s.growth_rate for s in stages]),
            per_stage("bottleneck", [s.bottleneck for s in stages]),
            f"stem of {stem.shape[0]} channels",
            f"{classes} classes",
        ),
        assumed=(
            f"image size {image_size} (--image-size) and stem stride {stride} (--stem-stride)",
            "maximum pooling after the stem",
        ),
    )


def _layer(stage: int, layer: int, part: str) -> str:
    return f"features.denseblock{stage}.denselayer{layer}.{part}"
