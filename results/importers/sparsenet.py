"""Checkpoints of SparseNet's authors, with or without bottleneck, and of their DenseNet.

::

    features.conv0.weight
    features.dense-stage-I.block-J.{bn1,conv1,bn2,conv2}    I from 0, J from 1
    features.transition-I.{bn1,conv1}
    features.norm_last, classifier.linear

A sparse layer concatenates what it fetches newest first, ours oldest first: the channels of each
norm and convolution that reads a concatenation are permuted. The file says nothing of the fetch
rule; the widths do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from results.importers.checkpoint import Checkpoint
from results.importers.imported import (
    Imported,
    Overrides,
    per_stage,
    ratio,
    stem_weight,
    transition_spec,
    under,
)
from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec, UserError
from search_space.fetch import FETCH_RULES, fetched

LAYER = r"features\.dense-stage-(\d+)\.block-(\d+)\."
FETCH_BASE = 2
POOL_SIZE = 8


def recognises(c: Checkpoint) -> bool:
    return "features.dense-stage-0.block-1.conv1.weight" in c


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the shapes of one stage say; ``number`` counts from 0. ``outputs`` are the channels of
    its input and of each of its layers."""

    number: int
    growth_rate: int
    bottleneck: int
    outputs: tuple[int, ...]

    @property
    def depth(self) -> int:
        return len(self.outputs) - 1

    def block(self, layer: int) -> str:
        return f"features.dense-stage-{self.number}.block-{layer}"

    def width(self, count: int, rule: str) -> int:
        """Channels that are fetched out of the first ``count`` outputs."""
        return sum(self.outputs[p] for p in fetched(count, rule, FETCH_BASE))

    def order(self, count: int, rule: str) -> Tensor:
        """For each fetched channel, oldest first, its place in the authors' concatenation."""
        positions = fetched(count, rule, FETCH_BASE)
        theirs = positions if rule == "dense" else positions[::-1]
        places: dict[int, Tensor] = {}
        start = 0
        for position in theirs:
            places[position] = torch.arange(start, start + self.outputs[position])
            start += self.outputs[position]
        return torch.cat([places[position] for position in positions])


def read(c: Checkpoint, overrides: Overrides) -> Imported:
    """The network and its weights; raises UserError where the tensors are no such network."""
    stem = stem_weight(c, "features.conv0.weight")
    stages = _stages(c, stem.shape[0])
    rule = _fetch_rule(c, stages)
    state = {"steps.stem.conv.weight": stem}
    widths: list[tuple[int, int]] = []
    for stage in stages:
        for layer in range(1, stage.depth + 1):
            name = f"steps.stage{stage.number + 1}_layer{layer}"
            state |= under(name, _layer_state(c, stage, layer, rule))
        if stage is stages[-1]:
            break
        order = stage.order(stage.depth + 1, rule)
        theirs, ours = f"features.transition-{stage.number}", f"steps.transition{stage.number + 1}"
        state |= under(f"{ours}.reduce_norm", _norm(c, f"{theirs}.bn1", order))
        weight = c.take(f"{theirs}.conv1.weight", None, len(order), 1, 1)
        state[f"{ours}.reduce.weight"] = weight[:, order]
        widths.append((len(order), weight.shape[0]))
    order = stages[-1].order(stages[-1].depth + 1, rule)
    linear = c.take("classifier.linear.weight", None, len(order))
    state |= under("steps.head.final_norm", _norm(c, "features.norm_last", order))
    state["steps.head.classifier.weight"] = linear[:, order]
    state["steps.head.classifier.bias"] = c.take("classifier.linear.bias", linear.shape[0])
    stride = overrides.stem_stride or 1
    image_size = overrides.image_size or stride * POOL_SIZE * 2 ** (len(stages) - 1)
    return Imported(
        spec=NetworkSpec(
            image_size=image_size,
            image_channels=stem.shape[1],
            classes=linear.shape[0],
            stem=StemSpec(channels=stem.shape[0], kernel=stem.shape[2], stride=stride),
            stages=tuple(
                DenseStage(
                    depth=stage.depth,
                    growth_rate=stage.growth_rate,
                    bottleneck=stage.bottleneck,
                    fetch=rule,
                    fetch_base=FETCH_BASE,
                )
                for stage in stages
            ),
            transition=transition_spec(widths),
            head=HeadSpec(),
        ),
        form="masked",
        state_dict=state,
        inferred=(
            per_stage("depth", [s.depth for s in stages]),
            per_stage("growth rate", [s.growth_rate for s in stages]),
            per_stage("bottleneck", [s.bottleneck for s in stages]),
            f"{rule} fetch",
            f"stem of {stem.shape[0]} channels",
            f"{linear.shape[0]} classes",
        ),
        assumed=(
            f"image size {image_size} (--image-size) and stem stride {stride} (--stem-stride)",
            *((f"fetch base {FETCH_BASE}",) if rule == "exponential" else ()),
        ),
    )


def _stages(c: Checkpoint, width: int) -> list[Stage]:
    stages = []
    for number, depth in enumerate(c.depths(LAYER)):
        name = f"features.dense-stage-{number}.block-1"
        bottleneck = f"{name}.conv2.weight" in c
        last = c.take(f"{name}.{'conv2' if bottleneck else 'conv1'}.weight", None, None, 3, 3)
        growth_rate, inner = last.shape[:2]
        stages.append(
            Stage(
                number=number,
                growth_rate=growth_rate,
                bottleneck=ratio(inner, growth_rate, f"`{name}.conv2.weight`") if bottleneck else 0,
                outputs=(width, *[growth_rate] * depth),
            )
        )
        transition = f"features.transition-{number}.conv1.weight"
        if transition in c:
            width = c.take(transition, None, None, 1, 1).shape[0]
    return stages


def _fetch_rule(c: Checkpoint, stages: list[Stage]) -> str:
    """The rule under which every layer reads as many channels as its norm has."""
    for rule in reversed(FETCH_RULES):
        if (
            all(
                stage.width(layer, rule)
                == c.take(f"{stage.block(layer)}.bn1.weight", None).shape[0]
                for stage in stages
                for layer in range(1, stage.depth + 1)
            )
            and stages[-1].width(stages[-1].depth + 1, rule)
            == (c.take("features.norm_last.weight", None).shape[0])
        ):
            return rule
    raise UserError(
        "the layers read neither all earlier outputs nor those at exponential offsets of base"
        f" {FETCH_BASE}: the widths of `bn1` fit no fetch rule that is read here"
    )


def _layer_state(c: Checkpoint, stage: Stage, layer: int, rule: str) -> dict[str, Tensor]:
    """One layer under our names."""
    name, k = stage.block(layer), stage.growth_rate
    order = stage.order(layer, rule)
    first = _norm(c, f"{name}.bn1", order)
    if not stage.bottleneck:
        weight = c.take(f"{name}.conv1.weight", k, len(order), 3, 3)
        return {**under("conv_norm", first), "conv.weight": weight[:, order]}
    inner = stage.bottleneck * k
    weight = c.take(f"{name}.conv1.weight", inner, len(order), 1, 1)
    return {
        **under("reduce_norm", first),
        "reduce.weight": weight[:, order],
        **under("conv_norm", c.norm(f"{name}.bn2", inner)),
        "conv.weight": c.take(f"{name}.conv2.weight", k, inner, 3, 3),
    }


def _norm(c: Checkpoint, name: str, order: Tensor) -> dict[str, Tensor]:
    """A batch norm with its channels in another order."""
    norm = c.norm(name, len(order))
    return {part: tensor[order] if tensor.dim() else tensor for part, tensor in norm.items()}
