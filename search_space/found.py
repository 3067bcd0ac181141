"""Networks that searches found, by the names that the zoo has them under (docs/cifar.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from search_space.blocks import DenseStage
from search_space.parts import HeadSpec, StemSpec
from search_space.spec import NetworkSpec


def _stage(depth: int, growth_rate: int, *, groups: int, **others: Any) -> DenseStage:
    """A stage all of whose convolutions have as many groups."""
    return DenseStage(
        depth=depth,
        growth_rate=growth_rate,
        groups_1x1=groups,
        groups_3x3=groups,
        sfr_groups=groups,
        **others,
    )


def _network(first: DenseStage, second: DenseStage, third: DenseStage) -> NetworkSpec:
    """What all that was found in the space ``cifar-32-fast`` has in common, with these stages."""
    return NetworkSpec(
        image_size=32,
        classes=10,
        stem=StemSpec(channels=16, stride=2),
        stages=(
            replace(first, sfr="last-1", sparse_factor=8),
            replace(second, sfr="last-1", sparse_factor=8),
            replace(third, activation="hard_swish"),
        ),
        head=HeadSpec(activation="hard_swish"),
    )


FOUND: dict[str, NetworkSpec] = {
    # Of the narrow stages the first is hardly grouped; the wide one in the middle has most of the
    # weights; the last reads by SparseNet's rule.
    "found-cifar-5m-a": _network(
        _stage(2, 8, groups=2),
        _stage(2, 64, groups=8, condense_factor=2, activation="hard_swish"),
        _stage(2, 32, groups=8, condense_factor=2, sfr="all", fetch="exponential", fetch_base=3),
    ),
    "found-cifar-5m-b": _network(
        _stage(3, 8, groups=2, condense_factor=8),
        _stage(2, 64, groups=8, condense_factor=4, activation="hard_swish"),
        _stage(3, 32, groups=4, condense_factor=8, sfr="all", se_reduction=1),
    ),
    # These two have hard-swish in the last stage alone.
    "found-cifar-5m-c": _network(
        _stage(2, 8, groups=8),
        _stage(2, 64, groups=8, condense_factor=2, fetch="exponential", se_reduction=1),
        _stage(4, 32, groups=8, condense_factor=8, sfr="all", se_reduction=1),
    ),
    "found-cifar-5m-d": _network(
        _stage(2, 8, groups=8, se_reduction=1),
        _stage(2, 64, groups=8, condense_factor=2, fetch="exponential", se_reduction=1),
        _stage(2, 32, groups=8, sfr="last-1", se_reduction=1),
    ),
    # Only the first stage is condensed.
    "found-cifar-4ms-a": _network(
        _stage(4, 8, groups=8, condense_factor=8),
        _stage(2, 64, groups=8, fetch="exponential", activation="hard_swish"),
        _stage(2, 32, groups=8, sfr="all"),
    ),
}
