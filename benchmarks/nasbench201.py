"""The kernels of NAS-Bench-201's networks, from the text that describes a cell.

A network is a 3x3 convolution to 16 channels, three stages of five cells (16, 32 and 64 channels on
32, 16 and 8 pixels), a residual block of stride 2 between them, pooling and a classifier
(Dong and Yang, NAS-Bench-201, section 2.1). A cell has four nodes; each sums what operations make
of the nodes before it; convolutions are ReLU, convolution and batch norm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from latency_models.kernels import Kernel, MoveKind, conv_kind

CELLS = 5
STAGES = ((16, 32), (32, 16), (64, 8))
CLASSES = 10
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

Edge = tuple[int, int, str]
"""From a node to a later one, by an operation."""


def edges(arch: str) -> list[Edge]:
    """The edges of a cell that are executed; none where its output does not depend on its input.

    ``arch`` is as ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|``: node by node, operation and
    node that it reads. What the output does not depend on is not executed, with one exception.
    ``none`` multiplies by zero, and a converter merges a product with a constant into the weights
    of the convolution before it: a node that is one convolution, and read by nothing but ``none``
    into nodes that are executed, is executed with weights of zero. The operations of zeros that
    remain are executed too, except that nothing is passed on of a node without any.

    Raises:
        ValueError: there is an operation of another name.
    """
    written = _parse(arch)
    computed = [edge for edge in written if edge[2] != "none"]
    for node in (1, 2):
        if not any(to == node for _, to, _ in computed):
            computed = [e for e in computed if e[::2] != (node, "skip_connect")]
    wanted = _needed(computed, {3})
    if 0 not in wanted:
        return []
    merged = {n for n in (1, 2) if n not in wanted and _becomes_zero(n, written, computed, wanted)}
    wanted = _needed(computed, wanted | merged)
    return [edge for edge in computed if edge[1] in wanted]


def _parse(arch: str) -> list[Edge]:
    found: list[Edge] = []
    for node, text in enumerate(arch.split("+"), start=1):
        for operation, read in re.findall(r"\|?([^|~]+)~(\d)", text):
            if operation not in OPERATIONS:
                raise ValueError(f"{arch}: unknown operation {operation!r}")
            found.append((int(read), node, operation))
    return found


def _needed(computed: list[Edge], nodes: set[int]) -> set[int]:
    """The nodes and all that they are computed from; edges are in the order of the nodes."""
    needed = set(nodes)
    for read, to, _ in reversed(computed):
        if to in needed:
            needed.add(read)
    return needed


def _becomes_zero(node: int, written: list[Edge], computed: list[Edge], wanted: set[int]) -> bool:
    """Whether a node is a convolution into whose weights every reader's zero is merged."""
    terms = [operation for _, to, operation in computed if to == node]
    readers = [(to, operation) for read, to, operation in written if read == node]
    return (
        len(terms) == 1
        and terms[0].startswith("nor_conv")
        and all(operation == "none" and to in wanted for to, operation in readers)
    )


def _conv(inputs: int, outputs: int, size: int, kernel: int, stride: int = 1) -> Kernel:
    weights = inputs * outputs * kernel**2
    area = (size // stride) ** 2
    return Kernel(
        kind=conv_kind(
            inputs=inputs, outputs=outputs, kernel=kernel, groups=1, out_size=size // stride
        ),
        in_channels=inputs,
        out_channels=outputs,
        in_elements=inputs * size**2,
        out_elements=outputs * area,
        macs=weights * area,
        weights=weights,
        kernel=kernel,
        stride=stride,
    )


def _move(kind: MoveKind, channels: int, size: int, *, tensors: int = 1, **settings: Any) -> Kernel:
    elements = channels * size**2
    return Kernel(
        kind=kind,
        in_channels=channels,
        out_channels=channels,
        in_elements=tensors * elements,
        **{"out_elements": elements} | settings,
    )


def _cell(found: list[Edge], channels: int, size: int) -> Iterator[Kernel]:
    for _, _, operation in found:
        if operation.startswith("nor_conv"):
            yield _move("elementwise", channels, size, function="relu")
            yield _conv(channels, channels, size, int(operation[-1]))
        elif operation == "avg_pool_3x3":
            yield _move("pool", channels, size, kernel=3)
    for node in (1, 2, 3):
        read = sum(to == node for _, to, _ in found)
        for _ in range(read - 1):
            yield _move("binary", channels, size, tensors=2)


def _reduction(channels: int, size: int) -> Iterator[Kernel]:
    """To twice the channels and half the size; the way around is pooled and convolved."""
    half = size // 2
    yield _move("elementwise", channels, size, function="relu")
    yield _conv(channels, 2 * channels, size, 3, stride=2)
    yield _move("elementwise", 2 * channels, half, function="relu")
    yield _conv(2 * channels, 2 * channels, half, 3)
    yield _move("pool", channels, size, kernel=2, stride=2, out_elements=channels * half**2)
    yield _conv(channels, 2 * channels, half, 1)
    yield _move("binary", 2 * channels, half, tensors=2)


def network(arch: str) -> list[Kernel]:
    """The kernels of the network in the order of execution; none where its result is a constant."""
    found = edges(arch)
    if not found:
        return []
    kernels = [_conv(3, STAGES[0][0], STAGES[0][1], 3)]
    for number, (channels, size) in enumerate(STAGES):
        if number:
            kernels += _reduction(channels // 2, 2 * size)
        for _ in range(CELLS):
            kernels += _cell(found, channels, size)
    channels, size = STAGES[-1]
    kernels.append(_move("elementwise", channels, size, function="relu"))
    kernels.append(_move("global_pool", channels, size, kernel=size, out_elements=channels))
    kernels.append(_conv(channels, CLASSES, 1, 1))
    return kernels
