"""Graphs executed by torch: plainly, to be traced and exported, or fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space.graph import Graph, Node, addition_tables, selected


class Constants(nn.Module):
    """The tensors of one node in single precision; indices as integers."""

    def __init__(self, node: Node, channels: int) -> None:
        super().__init__()
        arrays = dict(node.tensors)
        if node.kind in ("index_add", "scatter"):
            tables = addition_tables(arrays.pop("index"), node.shape.channels)
            arrays |= {f"table{i}": table for i, table in enumerate(tables)}
        elif node.kind == "affine":
            # A norm of mean 0 and deviation 1, which every exporter knows.
            size = node.shape.channels
            arrays |= {"mean": np.zeros(size), "variance": np.ones(size)}
        elif node.kind == "squeeze_excite" and not node.shape.is_vector:
            arrays |= {k: arrays[k][:, :, None, None] for k in ("reduce", "expand")}
        for name, array in arrays.items():
            is_index = np.issubdtype(array.dtype, np.integer)
            dtype = torch.int64 if is_index else torch.float32
            self.register_buffer(name, torch.tensor(array, dtype=dtype))

    def __getitem__(self, name: str) -> Tensor:
        return self.get_buffer(name)

    def get(self, name: str) -> Tensor | None:
        """None where the node has no such tensor."""
        return self._buffers.get(name)


Run = Callable[..., Tensor]

ACTIVATIONS: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda x: x,
    "relu": F.relu,
    "hard_swish": F.hardswish,
}
GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": F.hardsigmoid,
}


def _conv(node: Node, t: Constants, x: Tensor) -> Tensor:
    y = F.conv2d(x, t["weight"], t.get("bias"), node.stride, node.padding, 1, node.groups)
    return ACTIVATIONS[node.activation](y)


def _linear(node: Node, t: Constants, x: Tensor) -> Tensor:
    return ACTIVATIONS[node.activation](F.linear(x, t["weight"], t.get("bias")))


def _affine(node: Node, t: Constants, x: Tensor) -> Tensor:
    y = F.batch_norm(x, t["mean"], t["variance"], t["scale"], t["shift"], eps=0.0)
    return ACTIVATIONS[node.activation](y)


def _activation(node: Node, t: Constants, x: Tensor) -> Tensor:
    return ACTIVATIONS[node.activation](x)


def _squeeze_excite(node: Node, t: Constants, x: Tensor) -> Tensor:
    if node.shape.is_vector:
        y = F.linear(F.relu(F.linear(x, t["reduce"], t.get("bias"))), t["expand"])
        return x * GATES[node.gate](y)
    y = F.conv2d(x.mean((2, 3), keepdim=True), t["reduce"], t.get("bias"))
    gate = GATES[node.gate](F.conv2d(F.relu(y), t["expand"]))
    if node.repeats_gate:
        gate = F.interpolate(gate, scale_factor=node.shape[1:], mode="nearest")
    return x * gate


def _gather(node: Node, t: Constants, x: Tensor) -> Tensor:
    return x.index_select(1, t["index"])


def _slice(node: Node, t: Constants, x: Tensor) -> Tensor:
    return x[:, node.start : node.start + node.shape.channels]


def _shuffle(node: Node, t: Constants, x: Tensor) -> Tensor:
    channels, height, width = node.shape
    y = x.reshape(-1, node.groups, channels // node.groups, height, width)
    return y.transpose(1, 2).reshape(-1, channels, height, width)


def _increments(t: Constants, y: Tensor) -> list[Tensor]:
    y = F.pad(y, (0, 0, 0, 0, 0, 1))
    return [y.index_select(1, table) for table in t.buffers()]


def _index_add(node: Node, t: Constants, x: Tensor, y: Tensor) -> Tensor:
    for increment in _increments(t, y):
        x = x + increment
    return x


def _scatter(node: Node, t: Constants, y: Tensor) -> Tensor:
    first, *others = _increments(t, y)
    for increment in others:
        first = first + increment
    return first


def _add(node: Node, t: Constants, x: Tensor, *others: Tensor) -> Tensor:
    for y in others:
        x = x + y
    return x


def _concat(node: Node, t: Constants, *xs: Tensor) -> Tensor:
    return torch.cat(xs, 1)


def _avg_pool(node: Node, t: Constants, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, node.kernel, node.stride)


def _max_pool(node: Node, t: Constants, x: Tensor) -> Tensor:
    return F.max_pool2d(x, node.kernel, node.stride, node.padding)


def _global_pool(node: Node, t: Constants, x: Tensor) -> Tensor:
    return x.mean((2, 3))


def _flatten(node: Node, t: Constants, x: Tensor) -> Tensor:
    return x.flatten(1)


RUN: dict[str, Run] = {
    "conv": _conv,
    "linear": _linear,
    "affine": _affine,
    "activation": _activation,
    "squeeze_excite": _squeeze_excite,
    "gather": _gather,
    "slice": _slice,
    "shuffle": _shuffle,
    "index_add": _index_add,
    "scatter": _scatter,
    "add": _add,
    "concat": _concat,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "global_pool": _global_pool,
    "flatten": _flatten,
}
"""How torch computes each kind of node: ``run(node, constants, *inputs)``."""


class Deployed(nn.Module):
    """Runs a graph, an operation after the other: images ``(N, channels, size, size)`` to logits.

    For inference only. No scatter and nothing in place: exporters take it as it is.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        # Dots separate modules from their children.
        self.constants = nn.ModuleList(
            Constants(node, node.shape.channels) for node in graph.nodes[1:]
        )
        last = {name: i for i, node in enumerate(graph.nodes[1:]) for name in node.inputs}
        self._last_read: list[list[str]] = [[] for _ in graph.nodes[1:]]
        for name, i in last.items():
            if name != graph.output:
                self._last_read[i].append(name)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape ``(N, classes)``."""
        values = {self.graph.input.name: images}
        steps = zip(self.graph.nodes[1:], self.constants, self._last_read, strict=True)
        for node, constants, done in steps:
            values[node.name] = RUN[node.kind](node, constants, *(values[n] for n in node.inputs))
            for name in done:
                del values[name]
        return values[self.graph.output]


# --- Fast -----------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a value lives: in the memory of a concatenation, from a channel on."""

    buffer: str
    start: int


def places(graph: Graph) -> dict[str, Place]:
    """The values that live in another's memory, so that concatenating and adding move nothing.

    The inputs of a concatenation live inside its output; a sum is formed in the place of its first
    input where nothing reads that input afterwards. A value that two concatenations want, or that
    is still read after it was overwritten, stays apart.
    """
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    found: dict[str, Place] = {}
    for node in reversed(graph.nodes):
        if node.kind == "concat":
            buffer, start = found.setdefault(node.name, Place(node.name, 0))
            for name in node.inputs:
                if name != graph.input.name:
                    found.setdefault(name, Place(buffer, start))
                start += graph.makers[name].shape.channels
        elif node.kind == "add" and node.name in found:
            first = node.inputs[0]
            late = any(order[r.name] > order[node.name] for r in graph.readers[first])
            if not late and node.inputs.count(first) == 1 and first != graph.input.name:
                found.setdefault(first, found[node.name])
    return found
