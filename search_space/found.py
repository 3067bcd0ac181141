"""Networks that searches found, by the names that the zoo has them under (docs/cifar.md)."""

from __future__ import annotations

from search_space.blocks import DenseStage
from search_space.parts import HeadSpec, StemSpec
from search_space.spec import NetworkSpec

FOUND: dict[str, NetworkSpec] = {
    # Of the narrow stages the first is hardly grouped; the wide one in the middle has most of the
    # weights; the last reads by SparseNet's rule.
    "found-cifar-5m-a": NetworkSpec(
        image_size=32,
        classes=10,
        stem=StemSpec(channels=16, stride=2),
        stages=(
            DenseStage(
                depth=2,
                growth_rate=8,
                groups_1x1=2,
                groups_3x3=2,
                sfr="last-1",
                sparse_factor=8,
                sfr_groups=2,
            ),
            DenseStage(
                depth=2,
                growth_rate=64,
                groups_1x1=8,
                condense_factor=2,
                groups_3x3=8,
                sfr="last-1",
                sparse_factor=8,
                sfr_groups=8,
                activation="hard_swish",
            ),
            DenseStage(
                depth=2,
                growth_rate=32,
                groups_1x1=8,
                condense_factor=2,
                groups_3x3=8,
                sfr="all",
                sfr_groups=8,
                fetch="exponential",
                fetch_base=3,
                activation="hard_swish",
            ),
        ),
        head=HeadSpec(activation="hard_swish"),
    ),
}
