"""How the layers of a stage are linked: how many links, how many at once, how far apart.

What stands here follows from the fetch rule alone, before there are weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_space.blocks import DenseStage, ResidualStage, Stage
from search_space.fetch import fetched


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Figures of the links between the layers of a stage, whose input counts as output 0.

    SparseNet, section 3.2 and table 1, gives their orders; these are the numbers themselves.

    Attributes:
        depth: Layers N.
        links: Links from outputs to the layers that aggregate them, in all.
        skips: Those of them that pass over at least one layer: under exponential fetch of base c
            the sum of floor(log_c l) over the layers l (equation 4).
        largest_fan_in: Most outputs that one layer aggregates ("aggregated features").
        gradient_path: Links of the shortest path between an output and a layer, where that is
            longest ("shortest gradient path").
    """

    depth: int
    links: int
    skips: int
    largest_fan_in: int
    gradient_path: int


def topology(stage: Stage) -> Topology | None:
    """The figures of a stage; None where no rule says what a layer fetches: where halves of
    channels are shuffled, for one."""
    if not isinstance(stage, DenseStage | ResidualStage):
        return None
    rule, base = stage.fetch, stage.fetch_base
    return topology_of([fetched(n, rule, base) for n in range(1, stage.depth + 1)])


def topology_of(reads: Sequence[Sequence[int]]) -> Topology:
    """The figures of layers 1, 2, ..., given by the outputs that each aggregates.

    Output 0 is the stage's input, output l that of layer l; each layer reads the one before it.
    """
    layers = list(enumerate(reads, start=1))
    return Topology(
        depth=len(layers),
        links=sum(len(read) for _, read in layers),
        skips=sum(output < layer - 1 for layer, read in layers for output in read),
        largest_fan_in=max(len(read) for _, read in layers),
        gradient_path=_longest_of_shortest_paths(reads),
    )


def _longest_of_shortest_paths(reads: Sequence[Sequence[int]]) -> int:
    # Links between each layer and each output before it; paths lead through outputs in between.
    paths: list[list[int]] = [[]]
    for layer, read in enumerate(reads, start=1):
        linked = set(read)
        paths.append(
            [
                1 if output in linked else 1 + min(paths[r][output] for r in read if r > output)
                for output in range(layer)
            ]
        )
    return max(max(of_layer) for of_layer in paths[1:])
