"""The same network but for one choice: what the papers' ablations vary.

CondenseNet, figures 6 and 7; CondenseNetV2, figure 8 and table 4; SparseNet, table 3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from search_space.blocks import DenseStage, Stage
from search_space.errors import SpecError, UnknownName
from search_space.spec import NetworkSpec


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SpecError(f"`{name}` (={text!r}) must be a whole number") from None


def _per_stage(spec: NetworkSpec, name: str, text: str) -> list[int]:
    """``12`` for all dense stages, or ``4-6-8``, one for each."""
    values = [_whole(name, part) for part in text.split("-")]
    stages = sum(isinstance(stage, DenseStage) for stage in spec.stages)
    if len(values) not in (1, stages):
        raise SpecError(
            f"`{name}` (={text!r}) must be one number, or one for each of {stages} stages"
        )
    return values * stages if len(values) == 1 else values


def _dense_stages(
    spec: NetworkSpec, change: Callable[[int, DenseStage], DenseStage]
) -> NetworkSpec:
    """The network with each dense stage changed; the others have nothing of what varies."""
    stages: list[Stage] = []
    number = 0
    for stage in spec.stages:
        if isinstance(stage, DenseStage):
            stage = change(number, stage)
            number += 1
        stages.append(stage)
    return spec.replace(stages=tuple(stages))


def _numbers(*fields: str) -> Callable[[NetworkSpec, str, str], NetworkSpec]:
    """Sets fields of the dense stages to whole numbers."""

    def vary(spec: NetworkSpec, name: str, text: str) -> NetworkSpec:
        values = _per_stage(spec, name, text)

        def change(number: int, stage: DenseStage) -> DenseStage:
            changes: dict[str, Any] = dict.fromkeys(fields, values[number])
            return dataclasses.replace(stage, **changes)

        return _dense_stages(spec, change)

    return vary


def _word(field: str) -> Callable[[NetworkSpec, str, str], NetworkSpec]:
    def vary(spec: NetworkSpec, name: str, text: str) -> NetworkSpec:
        changes: dict[str, Any] = {field: text}
        return _dense_stages(spec, lambda i, stage: dataclasses.replace(stage, **changes))

    return vary


def _sfr(spec: NetworkSpec, name: str, text: str) -> NetworkSpec:
    """``on`` reactivates in all layers, with S and groups as the 1x1 convolutions' where the stage
    says nothing of its own; ``off`` in none."""
    if text not in ("on", "off"):
        raise SpecError(f"`{name}` (={text!r}) must be on or off")

    def change(number: int, stage: DenseStage) -> DenseStage:
        if text == "off":
            return dataclasses.replace(stage, sfr="none", sparse_factor=1, sfr_groups=1)
        if stage.sfr != "none":
            return stage
        return dataclasses.replace(
            stage,
            sfr="all",
            sparse_factor=stage.condense_factor,
            sfr_groups=stage.groups_1x1,
        )

    return _dense_stages(spec, change)


def _growth(spec: NetworkSpec, name: str, text: str) -> NetworkSpec:
    """``constant`` keeps the mean of the stages' rates, rounded to what all groups divide;
    ``doubling`` begins with the first (CondenseNet, section 3.2); or rates as numbers."""
    stages = [stage for stage in spec.stages if isinstance(stage, DenseStage)]
    rates = [stage.growth_rate for stage in stages]
    if text == "constant":
        unit = math.lcm(*(growth_unit(stage) for stage in stages))
        text = str(max(1, round(sum(rates) / len(rates) / unit)) * unit)
    elif text == "doubling":
        text = "-".join(str(rates[0] * 2**i) for i in range(len(rates)))
    return _numbers("growth_rate")(spec, name, text)


def growth_unit(stage: DenseStage) -> int:
    """What the growth rate of a stage must be a multiple of, for its groups to divide."""
    inner = stage.groups_1x1 // math.gcd(stage.groups_1x1, stage.bottleneck)
    return math.lcm(stage.groups_3x3, inner, 1 if stage.sfr == "none" else stage.sfr_groups)


def _fetch(spec: NetworkSpec, name: str, text: str) -> NetworkSpec:
    """``dense``, or the base c of exponential fetching (SparseNet, section 3)."""
    if text == "dense":
        return _dense_stages(
            spec, lambda i, stage: dataclasses.replace(stage, fetch="dense", fetch_base=2)
        )
    base = _whole(name, text)
    return _dense_stages(
        spec, lambda i, stage: dataclasses.replace(stage, fetch="exponential", fetch_base=base)
    )


def _connectivity(spec: NetworkSpec, name: str, text: str) -> NetworkSpec:
    """``full`` lets every feature pass between stages (CondenseNet, section 3.2); ``halved``
    halves them with a 1x1 convolution, as DenseNet does."""
    kinds = {"full": ("pool", 1.0), "halved": ("conv", 0.5)}
    if text not in kinds:
        raise SpecError(f"`{name}` (={text!r}) must be full or halved")
    kind, compression = kinds[text]
    return spec.replace(
        transition=dataclasses.replace(
            spec.transition, kind=kind, compression=compression, groups_1x1=1, condense_factor=1
        )
    )


VARIATIONS: dict[str, Callable[[NetworkSpec, str, str], NetworkSpec]] = {
    "sfr": _sfr,
    "groups": _numbers("groups_1x1", "sfr_groups"),
    "groups_3x3": _numbers("groups_3x3"),
    "sfr_groups": _numbers("sfr_groups"),
    "condense_factor": _numbers("condense_factor"),
    "sparse_factor": _numbers("sparse_factor"),
    "se_reduction": _numbers("se_reduction"),
    "activation": _word("activation"),
    "growth": _growth,
    "depth": _numbers("depth"),
    "fetch": _fetch,
    "connectivity": _connectivity,
}
"""What can be varied in a network, by name; values are text, as a person writes them. Of several
the earlier is made first: reactivation brings values of its own, a growth rate heeds groups."""

SHORT = {"C": "condense_factor", "S": "sparse_factor", "G": "groups", "se": "se_reduction"}
"""The papers' letters."""


def vary(spec: NetworkSpec, name: str, value: str) -> NetworkSpec:
    """The network with one choice changed in all its dense stages.

    Raises:
        UnknownName: no such variation; the message lists the known ones.
        SpecError: the value breaks a rule of the network, or the network has no dense stage.
    """
    name = SHORT.get(name, name)
    if name not in VARIATIONS:
        raise UnknownName("variation", name, [*VARIATIONS, *SHORT])
    if not any(isinstance(stage, DenseStage) for stage in spec.stages):
        raise SpecError(f"`{name}` is a choice of dense stages, and the network has none")
    changed = VARIATIONS[name](spec, name, value)
    if changed != spec and changed.id == spec.id:
        raise SpecError(
            f"`{name}` (={value}) changes nothing of this network, which lacks what it is about"
        )
    return changed
