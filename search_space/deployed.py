"""Graphs executed by torch: plainly, to be traced and exported, or fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space.graph import Graph, Node, addition_tables


class Constants(nn.Module):
    """The tensors of one node in single precision; indices as integers."""

    def __init__(self, node: Node) -> None:
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
        # Thousands of look-ups an image: get_buffer would take its time over each.
        tensor = self._buffers[name]
        assert tensor is not None
        return tensor

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
        self.constants = nn.ModuleList(Constants(node) for node in graph.nodes[1:])
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
        if node.shape.is_vector:
            continue
        if node.kind == "concat":
            buffer, start = found.setdefault(node.name, Place(node.name, 0))
            for name in node.inputs:
                if name != graph.input.name:
                    found.setdefault(name, Place(buffer, start))
                start += graph.makers[name].shape.channels
        elif node.kind == "add" and node.name in found:
            first = node.inputs[0]
            parts = _parts(first, graph)
            late = any(order[r.name] > order[node.name] for p in parts for r in graph.readers[p])
            if not late and node.inputs.count(first) == 1 and first != graph.input.name:
                found.setdefault(first, found[node.name])
    return found


def _parts(name: str, graph: Graph) -> list[str]:
    """A value and all that may live in its memory: what it is a concatenation of."""
    parts = [name]
    for part in parts:
        node = graph.makers[part]
        parts += node.inputs if node.kind == "concat" else ()
    return parts


IN_PLACE: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda x: x,
    "relu": torch.relu_,
    "hard_swish": lambda x: F.hardswish(x, inplace=True),
}


class FastDeployed(Deployed):
    """Runs a graph faster: channels last, concatenated and added to in place.

    Features that are concatenated are written where the concatenation wants them, one memory per
    stage; 1x1 convolutions are matrix products. For inference only; the outputs are those of
    :class:`Deployed` up to rounding.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.places = places(graph)
        # 1x1 convolutions that the next operation, and only that, adds to a value in place.
        self._added: dict[str, Node] = {}
        for maker, node in zip(graph.nodes, graph.nodes[1:], strict=False):
            if node.kind == "add" and node.inputs[1:] == (maker.name,) and self._stays(node):
                alone = graph.only_reader(maker.name) is node
                if alone and _is_product(maker) and maker.activation is None:
                    self._added[maker.name] = node
        self._skipped = {node.name for node in self._added.values()}
        self._run = {
            n.name: _product if _is_product(n) else _FAST.get(n.kind, RUN[n.kind])
            for n in graph.nodes[1:]
        }
        for node, constants in zip(graph.nodes[1:], self.constants, strict=True):
            assert isinstance(constants, Constants)
            if _is_product(node):
                weight = constants["weight"][:, :, 0, 0].T.contiguous()
                constants.register_buffer("weight", weight)
            elif node.kind == "conv":
                weight = constants["weight"].contiguous(memory_format=torch.channels_last)
                constants.register_buffer("weight", weight)

    def _stays(self, node: Node) -> bool:
        """Whether a sum is formed in the place of its first input."""
        place = self.places.get(node.name)
        return place is not None and self.places.get(node.inputs[0]) == place

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape ``(N, classes)``."""
        images = images.contiguous(memory_format=torch.channels_last)
        values = {self.graph.input.name: images}
        memory: dict[str, Tensor] = {}
        steps = zip(self.graph.nodes[1:], self.constants, self._last_read, strict=True)
        for node, constants, done in steps:
            if node.name not in self._skipped:
                self._step(node, constants, values, memory)  # type: ignore[arg-type]
            for name in done:
                values.pop(name, None)
            memory.pop(node.name, None)
        return values[self.graph.output]

    def _step(
        self, node: Node, t: Constants, values: dict[str, Tensor], memory: dict[str, Tensor]
    ) -> None:
        inputs = [values[name] for name in node.inputs]
        if node.name in self._added:
            total = self._added[node.name]
            values[total.name] = _add_product(values[total.inputs[0]], t, inputs[0])
            return
        place = self.places.get(node.name)
        target = None if place is None else self._target(place, node, inputs[0], memory)
        if node.kind == "concat" and target is not None:
            start = 0
            for name, x in zip(node.inputs, inputs, strict=True):
                assert place is not None
                if self.places.get(name) != Place(place.buffer, place.start + start):
                    target[:, start : start + x.shape[1]].copy_(x)
                start += x.shape[1]
            values[node.name] = target
            return
        if node.kind == "add" and self._stays(node):
            for y in inputs[1:]:
                inputs[0].add_(y)
            values[node.name] = inputs[0]
            return
        result = self._run[node.name](node, t, *inputs)
        values[node.name] = result if target is None else target.copy_(result)

    def _target(self, place: Place, node: Node, like: Tensor, memory: dict[str, Tensor]) -> Tensor:
        """The memory of a value, ``(N, channels, height, width)`` with channels last."""
        if place.buffer not in memory:
            channels, *size = self.graph.makers[place.buffer].shape
            shape = (like.shape[0], *size, channels)
            memory[place.buffer] = like.new_empty(shape).movedim(-1, 1)
        return memory[place.buffer][:, place.start : place.start + node.shape.channels]


def _is_product(node: Node) -> bool:
    return node.is_pointwise and node.groups == 1


def _rows(x: Tensor) -> Tensor:
    """``(N x positions, channels)``: a map with channels last as a matrix."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _product(node: Node, t: Constants, x: Tensor) -> Tensor:
    n, _, height, width = x.shape
    bias, rows = t.get("bias"), _rows(x)
    y = torch.mm(rows, t["weight"]) if bias is None else torch.addmm(bias, rows, t["weight"])
    return IN_PLACE[node.activation](y).view(n, height, width, -1).movedim(-1, 1)


def _add_product(x: Tensor, t: Constants, y: Tensor) -> Tensor:
    """``x`` plus a 1x1 convolution of ``y``, in the place of ``x``."""
    for image, increment in zip(x.movedim(1, -1), y.movedim(1, -1), strict=True):
        channels = image.shape[-1]
        rows = image.as_strided((image.shape[0] * image.shape[1], channels), image.stride()[1:])
        rows.addmm_(increment.reshape(len(rows), -1), t["weight"])
        if (bias := t.get("bias")) is not None:
            rows.add_(bias)
    return x


def _fast_conv(node: Node, t: Constants, x: Tensor) -> Tensor:
    y = F.conv2d(x, t["weight"], t.get("bias"), node.stride, node.padding, 1, node.groups)
    return IN_PLACE[node.activation](y)


def _fast_affine(node: Node, t: Constants, x: Tensor) -> Tensor:
    y = torch.addcmul(t["shift"], x.movedim(1, -1), t["scale"]).movedim(-1, 1)
    return IN_PLACE[node.activation](y)


def _fast_squeeze_excite(node: Node, t: Constants, x: Tensor) -> Tensor:
    pooled = x if node.shape.is_vector else x.mean((2, 3))
    hidden = torch.relu_(F.linear(pooled, t["reduce"].flatten(1), t.get("bias")))
    gate = GATES[node.gate](F.linear(hidden, t["expand"].flatten(1)))
    return x * (gate if node.shape.is_vector else gate[:, :, None, None])


_FAST: dict[str, Run] = {
    "conv": _fast_conv,
    "affine": _fast_affine,
    "squeeze_excite": _fast_squeeze_excite,
}
"""What is computed otherwise than by :class:`Deployed`."""
