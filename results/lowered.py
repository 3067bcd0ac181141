"""A condensed network rewritten for a runtime that lacks an operation or gets it wrong.

The outputs stay the same; :mod:`results.verify` compares them. A rewriting that also makes the
network faster belongs elsewhere and is plugged in here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
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
    """:class:`Gather` for a runtime that can only take channels apart and join them again.

    pnnx takes minutes over networks with many of them.
    """

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.positions: list[int] = index.tolist()

    def forward(self, x: Tensor) -> Tensor:
        channels = torch.split(x, 1, 1)
        return torch.cat([channels[i] for i in self.positions], 1)


@torch.no_grad()
def _dense_reader(conv: nn.Conv2d, index: Tensor, channels: int) -> nn.Conv2d:
    """A grouped convolution that reads ``channels`` gathered by ``index``, as a dense one."""
    dense = conv.weight.new_zeros(conv.out_channels, channels, *conv.weight.shape[2:])
    groups = zip(
        dense.chunk(conv.groups),
        conv.weight.chunk(conv.groups),
        index.chunk(conv.groups),
        strict=True,
    )
    for rows, weight, columns in groups:
        rows.index_add_(1, columns, weight)
    return _with_weight(conv, dense)


def _with_weight(conv: nn.Conv2d, weight: Tensor) -> nn.Conv2d:
    """A dense convolution with the kernel, stride and padding of another one."""
    dense = copy.deepcopy(conv)
    dense.out_channels, dense.in_channels, dense.groups = *weight.shape[:2], 1
    dense.weight = nn.Parameter(weight)
    return dense


@torch.no_grad()
def _norm_before(norm: nn.BatchNorm2d, index: Tensor, channels: int) -> nn.BatchNorm2d | None:
    """A norm of ``channels`` that gathered by ``index`` is ``norm``; None where copies of one
    channel were trained apart."""
    before = nn.BatchNorm2d(channels, norm.eps, device=index.device).train(norm.training)
    for name, tensor in before.state_dict().items():
        gathered = norm.state_dict()[name]
        if tensor.dim() and not torch.equal(
            tensor.index_copy_(0, index, gathered)[index], gathered
        ):
            return None
    return before


@torch.no_grad()
def _reader_of_all(linear: nn.Linear, index: Tensor, channels: int) -> nn.Linear:
    """A linear layer that reads ``channels`` gathered by ``index``, without the gather."""
    whole = copy.deepcopy(linear)
    whole.in_features = channels
    weight = linear.weight.new_zeros(linear.out_features, channels)
    whole.weight = nn.Parameter(weight.index_add_(1, index, linear.weight))
    return whole


@torch.no_grad()
def _dense_writer(conv: nn.Conv2d, index: Tensor, channels: int) -> nn.Conv2d:
    """A grouped convolution whose outputs are added at ``index``, as a dense one to ``channels``.

    Exact: an index repeats between groups only, and each group has inputs of its own.
    """
    dense = conv.weight.new_zeros(channels, conv.in_channels, *conv.weight.shape[2:])
    outputs, inputs = conv.weight.shape[0] // conv.groups, conv.weight.shape[1]
    rows = index.view(conv.groups, outputs)
    for group, weight in enumerate(conv.weight.chunk(conv.groups)):
        dense[rows[group], group * inputs : (group + 1) * inputs] = weight
    return _with_weight(conv, dense)


# --- One function per kind of operation that a runtime cannot execute ---------------------------

Rewriting = Callable[[FragmentModule, Op], None]
"""Replaces the module of one operation, and where need be that of its neighbours."""


def _gathered_add(fragment: FragmentModule, op: Op) -> None:
    index = cast(IndexAdd, fragment.get_submodule(op.name)).index
    fragment.set_submodule(op.name, GatheredAdd(index, op.input.channels))


def _folded_gather(fragment: FragmentModule, op: Op) -> None:
    """The norm moves in front of the gather, which the convolution or linear layer then takes in;
    where that would not be exact, the gather becomes split and join."""
    index = cast(Gather, fragment.get_submodule(op.name)).index
    channels = op.input.channels
    folded: dict[str, nn.Module] = {op.name: nn.Identity()}
    for reader in _readers(fragment, op):
        module = fragment.get_submodule(reader.name)
        if isinstance(module, nn.BatchNorm2d):
            norm = _norm_before(module, index, channels)
            if norm is None:
                break
            folded[reader.name] = norm
        elif isinstance(module, nn.Conv2d):
            folded[reader.name] = _dense_reader(module, index, channels)
            return _replace(fragment, folded)
        elif isinstance(module, nn.Linear):
            folded[reader.name] = _reader_of_all(module, index, channels)
            return _replace(fragment, folded)
        elif not isinstance(reader, ops.Activation):
            break
    _replace(fragment, {op.name: SplitGather(index)})


def _replace(fragment: FragmentModule, modules: dict[str, nn.Module]) -> None:
    for name, module in modules.items():
        fragment.set_submodule(name, module)


def _readers(fragment: FragmentModule, op: Op) -> Iterator[Op]:
    """What reads an operation's output, what reads that, ..., as long as there is one reader."""
    while True:
        readers = [o for o in fragment.fragment.ops if op.output in o.inputs]
        if len(readers) != 1 or op.output in fragment.fragment.outputs:
            return
        (op,) = readers
        yield op


def _folded_add(fragment: FragmentModule, op: Op) -> None:
    index = cast(IndexAdd, fragment.get_submodule(op.name)).index
    increments = op.inputs[1]
    source = next(o for o in fragment.fragment.ops if increments in o.outputs)
    conv = cast(nn.Conv2d, fragment.get_submodule(source.name))
    fragment.set_submodule(source.name, _dense_writer(conv, index, op.input.channels))
    fragment.set_submodule(op.name, Add())


LOWERINGS: dict[str, dict[type[Op], Rewriting]] = {
    "onnx": {ops.IndexAdd: _gathered_add},
    # ncnn has neither a gather of channels nor a scatter.
    "ncnn": {ops.Gather: _folded_gather, ops.IndexAdd: _folded_add},
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
