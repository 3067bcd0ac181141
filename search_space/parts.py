"""What stands before, between and after the stages: stem, transition, head."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search_space.errors import SpecError, shown
from search_space.plan import Learned, Pen
from search_space.rules import (
    ACTIVATIONS,
    check_flag,
    check_odd,
    check_one_of,
    check_whole,
)

TRANSITIONS = ("pool", "conv", "learned")


@dataclass(frozen=True, kw_only=True)
class StemSpec:
    """The first convolution: ``channels`` outputs.

    ``normed`` stems follow it with norm and ``activation``, ``pooled`` ones with 3x3 maximum
    pooling of stride 2.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    normed: bool = False
    activation: str = "relu"
    pooled: bool = False

    def __post_init__(self) -> None:
        check_whole(self, "channels", "stride")
        check_odd(self, "kernel")
        check_flag(self, "normed", "pooled")
        check_one_of(self, "activation", ACTIVATIONS)


def stem(pen: Pen, inputs: Sequence[Any], spec: StemSpec) -> tuple[Any, ...]:
    """Convolution, norm and activation, pooling."""
    x = pen.conv("conv", inputs[0], spec.channels, kernel=spec.kernel, stride=spec.stride)
    if spec.normed:
        x = pen.norm_act("conv", x, spec.activation)
    return (pen.max_pool("pool", x, kernel=3, stride=2) if spec.pooled else x,)


@dataclass(frozen=True, kw_only=True)
class TransitionSpec:
    """Between stages, before 2x2 average pooling:

    * ``pool``: nothing; every channel survives (CondenseNet, section 3.2);
    * ``conv``: norm, ReLU and a 1x1 convolution to ``compression`` of the channels;
    * ``learned``: the same as a learned group convolution, its outputs rounded up to a multiple
      of the groups (the light CondenseNets of the authors' code).
    """

    kind: str = "pool"
    compression: float = 1.0
    groups_1x1: int = 1
    condense_factor: int = 1

    def __post_init__(self) -> None:
        check_one_of(self, "kind", TRANSITIONS)
        check_whole(self, "groups_1x1", "condense_factor")
        number = isinstance(self.compression, int | float)
        if not number or isinstance(self.compression, bool) or not 0 < self.compression <= 1:
            raise SpecError(f"`compression` (={shown(self.compression)}) must be in (0, 1]")
        if self.kind == "pool" and self.compression != 1:
            raise SpecError(
                f"`compression` (={self.compression}) must be 1 where `kind` is pool; use conv"
            )
        for name in ("groups_1x1", "condense_factor"):
            if self.kind != "learned" and getattr(self, name) > 1:
                raise SpecError(
                    f"`{name}` (={getattr(self, name)}) must be 1 where `kind` is {self.kind};"
                    " use learned"
                )
        object.__setattr__(self, "compression", float(self.compression))


def transition(pen: Pen, inputs: Sequence[Any], spec: TransitionSpec) -> tuple[Any, ...]:
    """Halves the resolution."""
    x = pen.concat("fetch", inputs)
    if spec.kind != "pool":
        # The small term keeps 100 * 0.29 = 28.999... at 29.
        channels = int(x.channels * spec.compression + 1e-6)
        if channels == 0:
            raise SpecError(
                f"`compression` (={spec.compression}) leaves none of {x.channels} channels in a"
                " transition; raise it"
            )
        groups = spec.groups_1x1
        how = Learned(groups, spec.condense_factor)
        channels = math.ceil(channels / groups) * groups
        x = pen.learned_conv("reduce", x, channels, how, "relu")
    return (pen.avg_pool("pool", x, kernel=2, stride=2),)


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """After the last stage: norm and ReLU, pooling, then the classifier.

    Args:
        normed: Norm and ReLU come first, as pre-activation networks need.
        conv_features: Outputs of a 1x1 convolution with norm and ``activation`` before the
            pooling; 0 for none.
        grid: The pooling leaves ``grid`` x ``grid`` positions, read as one vector.
        se_reduction: Squeeze-and-excitation on the pooled features; 0 for none.
        se_normed: Whether it has a norm and a hard sigmoid (ShuffleNetV2+).
        features: Width of a hidden linear layer before the classifier; 0 for none.
        activation: What follows the convolution and the hidden layer.
        bias: Whether the linear layers have biases.
        condense_factor: The classifier keeps floor(inputs / condense_factor) inputs
            (CondenseNet, section 4.2: 2 on ImageNet).
        condense_at: When it loses the others: in ``training`` (CondenseNet, section 4.2) or at
            ``conversion``, without training after it (the authors' code).
    """

    normed: bool = True
    conv_features: int = 0
    grid: int = 1
    se_reduction: int = 0
    se_normed: bool = False
    features: int = 0
    activation: str = "hard_swish"
    bias: bool = True
    condense_factor: int = 1
    condense_at: str = "training"

    def __post_init__(self) -> None:
        check_whole(self, "se_reduction", "features", "conv_features", least=0)
        check_whole(self, "condense_factor", "grid")
        check_flag(self, "normed", "se_normed", "bias")
        check_one_of(self, "activation", ACTIVATIONS)
        check_one_of(self, "condense_at", ("training", "conversion"))

    def canonical(self) -> HeadSpec:
        """The same head with every choice that has no effect at its plainest value."""
        changes: dict[str, Any] = {}
        if not self.features and not self.conv_features:
            changes["activation"] = HeadSpec.activation
        if not self.se_reduction:
            changes["se_normed"] = False
        if self.condense_factor == 1:
            changes["condense_at"] = "training"
        return dataclasses.replace(self, **changes)


def head(pen: Pen, inputs: Sequence[Any], spec: HeadSpec, classes: int) -> tuple[Any, ...]:
    """From features to logits."""
    x = pen.concat("fetch", inputs)
    if spec.normed:
        x = pen.norm_act("final", x, "relu")
    if spec.conv_features:
        x = pen.conv("conv", x, spec.conv_features, kernel=1)
        x = pen.norm_act("conv", x, spec.activation)
    x = _pooled(pen, x, spec.grid)
    if spec.se_reduction > x.channels:
        raise SpecError(
            f"`se_reduction` (={spec.se_reduction}) of the head must be at most its channels"
            f" (={x.channels}): the hidden layer would be empty"
        )
    if spec.se_reduction:
        x = pen.squeeze_excite("se", x, spec.se_reduction, normed=spec.se_normed)
    if spec.features:
        x = pen.linear("features", x, spec.features, bias=spec.bias)
        x = pen.act("features_act", x, spec.activation)
    if spec.condense_factor == 1:
        return (pen.linear("classifier", x, classes, bias=spec.bias),)
    if spec.condense_factor > x.channels:
        raise SpecError(
            f"`condense_factor` (={spec.condense_factor}) of the head must be at most the inputs"
            f" of the classifier (={x.channels}): it keeps floor(inputs / condense_factor) of them"
        )
    logits = pen.learned_linear(
        "classifier",
        x,
        classes,
        spec.condense_factor,
        bias=spec.bias,
        at_conversion=spec.condense_at == "conversion",
    )
    return (logits,)


def _pooled(pen: Pen, x: Any, grid: int) -> Any:
    if grid == 1:
        return pen.global_pool("pool", x)
    if x.size < grid:
        raise SpecError(
            f"`grid` (={grid}) of the head must be at most the side of the last map (={x.size})"
        )
    stride = x.size // grid
    x = pen.avg_pool("pool", x, kernel=x.size - (grid - 1) * stride, stride=stride)
    return pen.flatten("flatten", x)
