"""Stem, dense blocks and transitions as the CondenseNet and CondenseNetV2 authors name them.

::

    features.init_conv.weight
    features.denseblock_I.denselayer_J.conv_1.{norm,conv,_mask,_count,_stage}   masked
    features.denseblock_I.denselayer_J.conv_1.{norm,conv,index}                 condensed
    features.denseblock_I.denselayer_J.conv_2.{norm,conv}
    features.denseblock_I.denselayer_J.{sfr.*,se.fc.0.weight,se.fc.2.weight}    CondenseNetV2
    features.transition_I.conv.{norm,conv}                                      DenseNet
    features.transition_I.conv.{norm,conv,_mask,... or index}                   light CondenseNet
    features.norm_last
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from results.importers.checkpoint import Checkpoint
from results.importers.imported import (
    Overrides,
    per_stage,
    ratio,
    resolution,
    stem_weight,
    transition_spec,
    under,
)
from results.importers.learned import (
    CONV,
    REACTIVATION,
    Condensation,
    Layer,
    LearnedNames,
    condensed_condensation,
    condensed_state,
    masked_condensation,
    masked_state,
)
from search_space import DenseStage, StemSpec, TransitionSpec, UserError
from search_space.plan import Form

LAYER = r"features\.denseblock_(\d+)\.denselayer_(\d+)\."


def is_dense_blocks(c: Checkpoint) -> bool:
    """Whether the names are those of the two families."""
    return "features.denseblock_1.denselayer_1.conv_1.conv.weight" in c


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the shapes of one block say. ``inputs`` are the channels that enter it."""

    depth: int
    inputs: int
    growth_rate: int
    bottleneck: int
    groups_3x3: int
    se_reduction: int

    @property
    def outputs(self) -> int:
        return self.inputs + self.depth * self.growth_rate


@dataclass(frozen=True, kw_only=True)
class Body:
    """All of a network but its head; ``channels`` leave the last block."""

    form: Form
    stem: StemSpec
    image_size: int
    image_channels: int
    stages: tuple[DenseStage, ...]
    transition: TransitionSpec
    channels: int
    state_dict: dict[str, Tensor]
    inferred: tuple[str, ...]
    assumed: tuple[str, ...]


def se_reduction(c: Checkpoint, name: str, channels: int, convention: int = 1) -> int:
    """Channels per hidden unit of a squeeze-and-excitation; 0 where the file has none.

    Of several that give the same hidden units it is ``convention``, where that is among them.
    """
    if f"{name}.fc.0.weight" not in c:
        return 0
    hidden = c.take(f"{name}.fc.0.weight", None, channels).shape[0]
    likely = (convention, channels // max(1, hidden))
    reduction = next((r for r in likely if r and channels // r == hidden), 0)
    if not hidden or not reduction:
        raise UserError(
            f"`{name}.fc.0.weight`: no reduction makes {hidden} hidden units of {channels} channels"
        )
    return reduction


def se_state(c: Checkpoint, name: str, channels: int, reduction: int) -> dict[str, Tensor]:
    """Both linear layers of a squeeze-and-excitation under our names."""
    hidden = channels // reduction
    return {
        "se.reduce.weight": c.take(f"{name}.fc.0.weight", hidden, channels),
        "se.expand.weight": c.take(f"{name}.fc.2.weight", channels, hidden),
    }


def read_body(c: Checkpoint, overrides: Overrides, hard_swish_from_stage: int) -> Body:
    """Everything that the two families share.

    Args:
        c: The tensors.
        overrides: What the user says.
        hard_swish_from_stage: First stage with hard-swish, from 1; 0 for none.

    Raises:
        UserError: the tensors are not such a network; the message names one.
    """
    form = _form(c)
    first = stem_weight(c, "features.init_conv.weight")
    width, image_channels, kernel, _ = first.shape
    stages, transitions = _stages(c, width)
    stem, image_size, assumed = resolution(
        StemSpec(channels=width, kernel=kernel), len(stages), overrides
    )
    groups_3x3 = stages[0].groups_3x3
    learned = bool(transitions) and _is_learned(c, transitions[0])
    conv_layers = _layers(stages, CONV) + (transitions if learned else [])
    conv = _condensation(
        c, form, conv_layers, CONV, overrides.groups, overrides.condense_factor, groups_3x3
    )
    sfr_layers = _layers(stages, REACTIVATION)
    sfr = _condensation(
        c, form, sfr_layers, REACTIVATION, overrides.sfr_groups, overrides.sparse_factor, groups_3x3
    )
    state = {"steps.stem.conv.weight": first}
    for number, stage in enumerate(stages, start=1):
        for layer in range(1, stage.depth + 1):
            ours = f"steps.stage{number}_layer{layer}"
            state |= under(ours, _layer_state(c, form, number, layer, stage, conv, sfr))
    for number, transition in enumerate(transitions, start=1):
        read = condensed_state if form == "condensed" and learned else masked_state
        how = conv if learned else Condensation(groups=1, factor=1)
        state |= under(f"steps.transition{number}", read(c, transition, CONV, how))
    specs = tuple(
        DenseStage(
            depth=stage.depth,
            growth_rate=stage.growth_rate,
            bottleneck=stage.bottleneck,
            groups_1x1=conv.groups,
            condense_factor=conv.factor,
            groups_3x3=stage.groups_3x3,
            sfr="all" if c.has(".sfr.conv.weight") else "none",
            sparse_factor=sfr.factor,
            sfr_groups=sfr.groups,
            se_reduction=stage.se_reduction,
            activation="hard_swish" if 0 < hard_swish_from_stage <= number else "relu",
        )
        for number, stage in enumerate(stages, start=1)
    )
    inferred = (
        f"{form} form",
        per_stage("depth", [s.depth for s in stages]),
        per_stage("growth rate", [s.growth_rate for s in stages]),
        per_stage("bottleneck", [s.bottleneck for s in stages]),
        per_stage("groups of the 3x3", [s.groups_3x3 for s in stages]),
        *(
            (per_stage("SE reduction", [s.se_reduction for s in stages]),)
            if c.has("se.fc.0.weight")
            else ()
        ),
        *conv.inferred,
        *sfr.inferred,
    )
    return Body(
        form=form,
        stem=stem,
        image_size=image_size,
        image_channels=image_channels,
        stages=specs,
        transition=transition_spec(
            [(transition.inputs, transition.outputs) for transition in transitions],
            kind="learned" if learned else "conv",
            groups_1x1=conv.groups if learned else 1,
            condense_factor=conv.factor if learned else 1,
        ),
        channels=stages[-1].outputs,
        state_dict=state,
        inferred=inferred,
        assumed=(*assumed, *conv.assumed, *sfr.assumed),
    )


def _form(c: Checkpoint) -> Form:
    if c.has("._mask") and c.has(".index"):
        raise UserError(
            "the checkpoint holds both masks and indexes: it was converted in part; import the"
            " one from before or after the conversion"
        )
    return "condensed" if c.has(".conv_1.index") else "masked"


def _stages(c: Checkpoint, width: int) -> tuple[list[Stage], list[Layer]]:
    """The blocks, and each transition that has a convolution."""
    stages, transitions = [], []
    depths = c.depths(LAYER)
    convolve = "features.transition_1.conv.conv.weight" in c
    for number, depth in enumerate(depths, start=1):
        name = f"features.denseblock_{number}.denselayer_1"
        weight = c.take(f"{name}.conv_2.conv.weight", None, None, 3, 3)
        growth_rate, per_group = weight.shape[:2]
        inner = c.take(f"{name}.conv_2.norm.weight", None).shape[0]
        stage = Stage(
            depth=depth,
            inputs=width,
            growth_rate=growth_rate,
            bottleneck=ratio(inner, growth_rate, f"`{name}.conv_2.norm.weight`"),
            groups_3x3=ratio(inner, per_group, f"`{name}.conv_2.conv.weight`"),
            se_reduction=se_reduction(c, f"{name}.se", growth_rate),
        )
        stages.append(stage)
        width = stage.outputs
        transition = f"features.transition_{number}.conv"
        if convolve and number < len(depths):
            out = c.take(f"{transition}.conv.weight", None, None, 1, 1).shape[0]
            transitions.append(Layer(name=transition, outputs=out, inputs=width))
            width = out
    return stages, transitions


def _is_learned(c: Checkpoint, layer: Layer) -> bool:
    return f"{layer.name}._mask" in c or f"{layer.name}.index" in c


def _layers(stages: list[Stage], names: LearnedNames) -> list[Layer]:
    """Every learned layer of a kind, as many as there are layers."""
    return [
        _learned(names, number, layer, stage)
        for number, stage in enumerate(stages, start=1)
        for layer in range(1, stage.depth + 1)
    ]


def _learned(names: LearnedNames, number: int, layer: int, stage: Stage) -> Layer:
    name = f"features.denseblock_{number}.denselayer_{layer}.{names.theirs}"
    inputs = stage.inputs + (layer - 1) * stage.growth_rate
    if names is REACTIVATION:
        return Layer(name=name, outputs=inputs, inputs=stage.growth_rate)
    return Layer(name=name, outputs=stage.bottleneck * stage.growth_rate, inputs=inputs)


def _condensation(
    c: Checkpoint,
    form: Form,
    layers: list[Layer],
    names: LearnedNames,
    groups: int | None,
    factor: int | None,
    convention: int,
) -> Condensation:
    """Groups and factor of one kind of learned layer; 1 and 1 where the network has none."""
    if not c.has(f".{names.theirs}._mask") and not c.has(f".{names.theirs}.index"):
        return Condensation(groups=1, factor=1)
    if form == "condensed":
        return condensed_condensation(c, layers, names)
    return masked_condensation(c, layers, names, groups, factor, convention)


def _layer_state(
    c: Checkpoint,
    form: Form,
    number: int,
    layer: int,
    stage: Stage,
    conv: Condensation,
    sfr: Condensation,
) -> dict[str, Tensor]:
    """One dense layer under our names."""
    name = f"features.denseblock_{number}.denselayer_{layer}"
    read = condensed_state if form == "condensed" else masked_state
    state = read(c, _learned(CONV, number, layer, stage), CONV, conv)
    inner = stage.bottleneck * stage.growth_rate
    state |= under("conv_norm", c.norm(f"{name}.conv_2.norm", inner))
    state["conv.weight"] = c.take(
        f"{name}.conv_2.conv.weight", stage.growth_rate, inner // stage.groups_3x3, 3, 3
    )
    if stage.se_reduction:
        state |= se_state(c, f"{name}.se", stage.growth_rate, stage.se_reduction)
    if c.has(".sfr.conv.weight"):
        state |= read(c, _learned(REACTIVATION, number, layer, stage), REACTIVATION, sfr)
    return state
