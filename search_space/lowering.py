"""What is made of a graph for each runtime, equal in output: rules in the order of application.

The canonical graph is a condensed network as its plan has it: gather, grouped convolution, shuffle
and index-add. Which of these pay depends on the runtime. The figures among the settings were found
with ``benchmarks/inference.py`` and say where one form of a layer overtakes the other.
"""

from __future__ import annotations

from search_space.errors import UnknownName
from search_space.folding import FOLDING, dense_convs, dense_linears
from search_space.gathering import GATHERING
from search_space.graph import Graph, Rule
from search_space.layout import (
    compose_gathers,
    fold_columns,
    gather_inputs,
    merge_groups,
    norms_as_convs,
    pool_early,
    repeat_gates,
    separate_groups,
)
from search_space.padding import pad_channels

BLOCK = 16
"""Channels that onnxruntime computes at once with AVX-512; whole blocks of 16 are whole blocks of
8 and 4 too."""

_ONNXRUNTIME, _NCNN = GATHERING["onnxruntime"], GATHERING["ncnn"]

LOWERINGS: dict[str, tuple[Rule, ...]] = {
    # As the plan has it.
    "canonical": (),
    # One convolution per layer, for runtimes that move channels badly.
    "dense": (dense_convs, dense_linears),
    "onnxruntime-arm": (*FOLDING, pool_early, gather_inputs(_ONNXRUNTIME.worth)),
    # Whole blocks of channels, which AVX-512 computes as fast as parts of them.
    "onnxruntime-x86": (
        *FOLDING,
        pool_early,
        separate_groups(BLOCK, 4),
        fold_columns(BLOCK),
        merge_groups(BLOCK),
        pad_channels(BLOCK),
        gather_inputs(60),
        compose_gathers,
        norms_as_convs,
        repeat_gates,
    ),
    # Channels last: groups matter, whole blocks do not.
    "torch": (
        *FOLDING,
        pool_early,
        separate_groups(BLOCK, 4),
        merge_groups(BLOCK),
        compose_gathers,
    ),
    # It takes channels apart and joins them, which pays for whole registers of four.
    "ncnn": (
        *FOLDING,
        dense_linears,
        pool_early,
        merge_groups(_NCNN.multiple),
        gather_inputs(_NCNN.worth, _NCNN.block),
    ),
}
"""Rules by the name of a lowering. A new lowering is one line here."""


def lower(graph: Graph, lowering: str) -> Graph:
    """The graph that the rules of a lowering make of it.

    Args:
        graph: Of a network in either form.
        lowering: A key of ``LOWERINGS``.

    Raises:
        UnknownName: no such lowering.
    """
    if lowering not in LOWERINGS:
        raise UnknownName("lowering", lowering, LOWERINGS)
    for rule in LOWERINGS[lowering]:
        graph = rule(graph)
    return graph
