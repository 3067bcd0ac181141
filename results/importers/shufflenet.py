"""Checkpoints of the authors of ShuffleNetV2 and ShuffleNetV2+.

::

    first_conv.{0,1}
    features.N.branch_proj.K                 in the first unit of each stage
    features.N.branch_main.K                 K: places of convolutions and norms, see ``PLACES``
    features.N.branch_main.K.SE_opr.{1,2,4}  ShuffleNetV2+, which also has the next two
    LastSE.SE_opr.{1,2,4}
    fc.0
    conv_last.{0,1}, classifier.0
"""

from __future__ import annotations

from results.importers.checkpoint import Checkpoint
from results.importers.imported import (
    Imported,
    Overrides,
    per_stage,
    renamed_state,
    stem_weight,
)
from search_space import HeadSpec, NetworkSpec, ShuffleStage, StemSpec

IMAGE_SIZE = 224
STEM_STRIDE = 2
SE_REDUCTION = 4
PLUS_HARD_SWISH_FROM_STAGE = 2
"""All as in the networks that the authors name."""

PASS_PLACES = {"pass_depth": 0, "pass_point": 2}
PLACES = {
    "kernel": {"point1": 0, "depth": 3, "point2": 5, "se": 8},
    "xception": {
        "depth1": 0,
        "point1": 2,
        "depth2": 5,
        "point2": 7,
        "depth3": 10,
        "point3": 12,
        "se": 15,
    },
}
"""Where in a branch our convolutions stand; each norm follows its convolution."""
OUTER = {
    "stem.conv": "first_conv.0",
    "stem.conv_norm": "first_conv.1",
    "head.conv": "conv_last.0",
    "head.conv_norm": "conv_last.1",
    "head.se": "LastSE",
    "head.features": "fc.0",
    "head.classifier": "classifier.0",
}
SE = {"reduce": "SE_opr.1", "norm": "SE_opr.2", "expand": "SE_opr.4"}


def recognises(c: Checkpoint) -> bool:
    return "features.0.branch_main.0.weight" in c and not _is_plus(c)


def recognises_plus(c: Checkpoint) -> bool:
    return "features.0.branch_main.0.weight" in c and _is_plus(c)


def _is_plus(c: Checkpoint) -> bool:
    return "LastSE.SE_opr.1.weight" in c


def read(c: Checkpoint, overrides: Overrides) -> Imported:
    """The network and its weights; raises UserError where the tensors are no such network."""
    plus = _is_plus(c)
    first = overrides.hard_swish_from_stage
    if first is None:
        first = PLUS_HARD_SWISH_FROM_STAGE if plus else 0
    image_size = overrides.image_size or IMAGE_SIZE
    stride = overrides.stem_stride or STEM_STRIDE
    stem = stem_weight(c, "first_conv.0.weight")
    blocks = _blocks(c)
    stages = tuple(
        _stage(c, names, "hard_swish" if 0 < first <= number else "relu")
        for number, names in enumerate(blocks, start=1)
    )
    head = HeadSpec(
        normed=False,
        conv_features=c.take("conv_last.1.weight", None).shape[0],
        se_reduction=SE_REDUCTION if plus else 0,
        se_normed=plus,
        features=c.take("fc.0.weight", None, None).shape[0] if plus else 0,
        activation="hard_swish" if plus else "relu",
        bias=False,
    )
    spec = NetworkSpec(
        image_size=image_size,
        image_channels=stem.shape[1],
        classes=c.take("classifier.0.weight", None, None).shape[0],
        stem=StemSpec(
            channels=stem.shape[0],
            kernel=stem.shape[2],
            stride=stride,
            normed=True,
            activation="hard_swish" if plus else "relu",
            pooled=not plus,
        ),
        stages=stages,
        head=head,
    )
    steps = {
        f"stage{number}_layer{layer}": block
        for number, names in enumerate(blocks, start=1)
        for layer, block in enumerate(names, start=1)
    }
    units = ["-".join(stage.units) for stage in stages]
    return Imported(
        spec=spec,
        form="masked",
        state_dict=renamed_state(c, spec, lambda ours: _theirs(c, ours, steps)),
        inferred=(
            per_stage("channels", [s.channels for s in stages]),
            per_stage("units", units),
            f"stem of {stem.shape[0]} channels",
            f"{spec.classes} classes",
        ),
        assumed=(
            f"image size {image_size} (--image-size) and stem stride {stride} (--stem-stride)",
            f"hard-swish from stage {first} (--hard-swish-from-stage), in stem and head"
            if plus
            else "maximum pooling after the stem",
        ),
    )


def _blocks(c: Checkpoint) -> list[list[str]]:
    """The names of the units of each stage; only a first unit projects what passes."""
    c.take("features.0.branch_proj.0.weight", None, 1, None, None)
    stages: list[list[str]] = []
    number = 0
    while f"features.{number}.branch_main.0.weight" in c:
        block = f"features.{number}"
        if f"{block}.branch_proj.0.weight" in c:
            stages.append([])
        stages[-1].append(block)
        number += 1
    return stages


def _stage(c: Checkpoint, blocks: list[str], activation: str) -> ShuffleStage:
    units = tuple(_unit(c, block) for block in blocks)
    point = _places(c, blocks[0])["point1"]
    half = c.take(f"{blocks[0]}.branch_main.{point}.weight", None, None, 1, 1).shape[0]
    attending = f"{blocks[0]}.branch_main.{_places(c, blocks[0])['se']}.SE_opr.1.weight" in c
    return ShuffleStage(
        channels=2 * half,
        units=units,
        activation=activation,
        se_reduction=SE_REDUCTION if attending else 0,
    )


def _places(c: Checkpoint, block: str) -> dict[str, int]:
    last = PLACES["xception"]["point3"]
    return PLACES["xception" if f"{block}.branch_main.{last}.weight" in c else "kernel"]


def _unit(c: Checkpoint, block: str) -> str:
    """What a unit is called in ``ShuffleStage``."""
    places = _places(c, block)
    if places is PLACES["xception"]:
        return "xception"
    name = f"{block}.branch_main.{places['depth']}.weight"
    return str(c.take(name, None, 1, None, None).shape[2])


def _theirs(c: Checkpoint, ours: str, blocks: dict[str, str]) -> str:
    """Their name for a module of ours; ``blocks`` names the unit of each step."""
    step, module, *inner = ours.split(".")
    if step in blocks:
        conv = module.removesuffix("_norm")
        branch, places = (
            ("branch_proj", PASS_PLACES)
            if conv in PASS_PLACES
            else ("branch_main", _places(c, blocks[step]))
        )
        name = f"{blocks[step]}.{branch}.{places[conv] + (conv != module)}"
    else:
        name = OUTER[f"{step}.{module}"]
    return ".".join((name, *(SE[part] for part in inner)))
