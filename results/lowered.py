"""A condensed network rewritten for a runtime that lacks an operation or gets it wrong.

The outputs stay the same; :mod:`results.verify` compares them. A rewriting that also makes the
network faster belongs elsewhere and is plugged in here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space import ops
from search_space.modules import Add, Gather, IndexAdd
from search_space.network import FragmentModule
from search_space.ops import Op


class GatheredAdd(nn.Module):
    """:class:`IndexAdd` without a scatter: ``x`` plus what each channel is given first, second, ...

    onnxruntime adds repeated indices of a ScatterND from several threads at once and so loses some
    of them; the TorchScript exporter to ONNX drops all but the last.

    Args:
        index: ``(increments,)``, the channel of ``x`` that each channel of ``y`` is added to.
        channels: Channels of ``x``.
    """

    def __init__(self, index: Tensor, channels: int) -> None:
        super().__init__()
        nothing = len(index)  # the channel of zeros behind those of y
        self.repeats = int(index.bincount().max())
        tables = torch.full((self.repeats, channels), nothing, device=index.device)
        given = [0] * channels
        for increment, channel in enumerate(index.tolist()):
            tables[given[channel], channel] = increment
            given[channel] += 1
        for i, table in enumerate(tables):
            self.register_buffer(f"table{i}", table.clone())

    @property
    def tables(self) -> list[Tensor]:
        """For each repetition ``(channels,)``: which channel of ``y``, then a zero, is added."""
        return [self.get_buffer(f"table{i}") for i in range(self.repeats)]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        y = F.pad(y, (0, 0, 0, 0, 0, 1))
        for table in self.tables:
            x = x + y.index_select(1, table)
        return x


class SplitGather(nn.Module):
    """:class:`Gather` for a runtime that can only take channels apart and join them again."""

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.positions: list[int] = index.tolist()

    def forward(self, x: Tensor) -> Tensor:
        channels = torch.split(x, 1, 1)
        return torch.cat([channels[i] for i in self.positions], 1)


def _dense(conv: nn.Conv2d, index: Tensor, channels: int) -> nn.Conv2d:
    """A grouped convolution whose outputs are added at ``index``, as a dense one to ``channels``.

    Exact: an index repeats between groups only, and each group has inputs of its own. The
    kernel, stride and padding of the grouped convolution are kept.
    """
    folded = copy.deepcopy(conv)
    folded.out_channels, folded.groups = channels, 1
    dense = conv.weight.new_zeros(channels, conv.in_channels, *conv.weight.shape[2:])
    outputs, inputs = conv.weight.shape[0] // conv.groups, conv.weight.shape[1]
    rows = index.view(conv.groups, outputs)
    with torch.no_grad():
        for group, weight in enumerate(
            conv.weight.view(conv.groups, outputs, *conv.weight.shape[1:])
        ):
            columns = torch.arange(group * inputs, (group + 1) * inputs)
            dense[rows[group][:, None], columns] = weight
    folded.weight = nn.Parameter(dense)
    return folded


# --- One function per kind of operation that a runtime cannot execute ---------------------------

Rewriting = Callable[[FragmentModule, Op], None]
"""Replaces the module of one operation, and where need be that of its neighbours."""


def _gathered_add(fragment: FragmentModule, op: Op) -> None:
    index = cast(IndexAdd, fragment.get_submodule(op.name)).index
    fragment.set_submodule(op.name, GatheredAdd(index, op.input.channels))


def _split_gather(fragment: FragmentModule, op: Op) -> None:
    index = cast(Gather, fragment.get_submodule(op.name)).index
    fragment.set_submodule(op.name, SplitGather(index))


def _folded_add(fragment: FragmentModule, op: Op) -> None:
    index = cast(IndexAdd, fragment.get_submodule(op.name)).index
    increments = op.inputs[1]
    source = next(o for o in fragment.fragment.ops if increments in o.outputs)
    conv = cast(nn.Conv2d, fragment.get_submodule(source.name))
    fragment.set_submodule(source.name, _dense(conv, index, op.input.channels))
    fragment.set_submodule(op.name, Add())


LOWERINGS: dict[str, dict[type[Op], Rewriting]] = {
    "onnx": {ops.IndexAdd: _gathered_add},
    # ncnn has neither a gather of channels nor a scatter.
    "ncnn": {ops.Gather: _split_gather, ops.IndexAdd: _folded_add},
}
"""What each format needs rewritten; a format that is not listed takes the network as it is."""


def lowered_for(format: str, network: nn.Module) -> nn.Module:
    """A copy of a network, rewritten for a format; outputs are the same.

    Args:
        format: A key of ``LOWERINGS``; the network itself is returned for any other.
        network: A condensed :class:`~search_space.network.Network`; modules that are not made of
            fragments stay as they are.
    """
    rewritings = LOWERINGS.get(format)
    if rewritings is None:
        return network
    lowered = copy.deepcopy(network)
    for module in lowered.modules():
        if isinstance(module, FragmentModule):
            for op in module.fragment.ops:
                if type(op) in rewritings:
                    rewritings[type(op)](module, op)
    return lowered.train(network.training)
