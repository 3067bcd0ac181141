"""Which features each layer of a network with weights reads, how strongly, and which it updates.

A *feature* is a channel that a step of the plan makes and later steps read: pooling, norms and
reactivation leave it the feature that it is. Both forms of a network have the same connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from search_space import ops
from search_space.graph import shuffled
from search_space.modules import LearnedLayer
from search_space.network import Network
from search_space.ops import Op
from search_space.plan import Step
from search_space.strengths import strengths

Ids = NDArray[np.intp]
Floats = NDArray[np.float64]

_OWN = -1
"""The number of a channel that the step at hand has made."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What one convolution or linear layer reads of features that other steps made.

    Attributes:
        layer: Its step: ``stage1_layer2``, ``transition1``, ``head``.
        op: Its name in the step.
        features: ``(inputs,)``: the number of the feature that each input is.
        strength: ``(groups, inputs)``: mean absolute weight of a filter group on an input, over the
            group's outputs and the window; nan where the group has dropped the input, or never
            had it. Filters of single channels are one group.
        weights: How many weights each mean is of.
    """

    layer: str
    op: str
    features: Ids
    strength: Floats
    weights: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Update:
    """What one reactivation updates (CondenseNetV2, section 3.1).

    ``features`` are the numbers of those that it might, ``(outputs,)``; ``kept`` says which of them
    each group does, ``(groups, outputs)``.
    """

    layer: str
    features: Ids
    kept: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Connections:
    """All that a network's layers read and update.

    Attributes:
        sources: The steps that make features, in order.
        owner: ``(features,)``: the position in ``sources`` of each feature's.
        readings: In the order of execution.
        updates: Likewise.
    """

    sources: tuple[str, ...]
    owner: Ids
    readings: tuple[Reading, ...]
    updates: tuple[Update, ...]


def connections(network: Network) -> Connections:
    """The connections of a network in either form.

    Where outputs are summed, the sum counts as made by the step that sums: its parts cannot be told
    apart (SparseNet, section 3.1).
    """
    walk = _Walk(network)
    for step in network.plan.steps:
        walk.take(step)
    return Connections(
        sources=tuple(walk.sources),
        owner=np.array(walk.owner, dtype=np.intp),
        readings=tuple(walk.readings),
        updates=tuple(walk.updates),
    )


class _Channels(NamedTuple):
    """What a value holds: the features ``of`` which it was gathered, and where among them each of
    its channels is; None where it holds them as they are."""

    of: Ids
    at: Ids | None = None

    @property
    def features(self) -> Ids:
        return self.of if self.at is None else self.of[self.at]


def _made(count: int) -> _Channels:
    return _Channels(np.full(count, _OWN))


class _Walk:
    """Follows every channel through the plan."""

    def __init__(self, network: Network) -> None:
        self.sources: list[str] = []
        self.owner: list[int] = []
        self.readings: list[Reading] = []
        self.updates: list[Update] = []
        self._modules = network.steps
        self._logits = network.plan.output
        image = network.plan.input
        self._values = {image.name: np.full(image.channels, _OWN)}

    def take(self, step: Step) -> None:
        """Follows the channels through one step."""
        in_step = _InStep(step, self._modules[step.name])
        outputs = in_step.run([self._values[name] for name in step.inputs])
        self.readings += in_step.readings
        self.updates += in_step.updates
        for name, features in zip(step.outputs, outputs, strict=True):
            if name != self._logits:
                self._values[name] = self._numbered(features, step.name)

    def _numbered(self, features: Ids, maker: str) -> Ids:
        """The channels that a step has made as new features of its own."""
        made = np.flatnonzero(features == _OWN)
        if not made.size:
            return features
        if maker not in self.sources:
            self.sources.append(maker)
        features = features.copy()
        features[made] = len(self.owner) + np.arange(len(made))
        self.owner += [self.sources.index(maker)] * len(made)
        return features


class _InStep:
    """Follows the channels through the operations of a step."""

    def __init__(self, step: Step, modules: nn.Module) -> None:
        self.readings: list[Reading] = []
        self.updates: list[Update] = []
        self._step = step
        self._modules = modules
        self._kept: NDArray[np.bool_] | None = None

    def run(self, inputs: Iterable[Ids]) -> list[Ids]:
        fragment = self._step.fragment
        values = {v.name: _Channels(x) for v, x in zip(fragment.inputs, inputs, strict=True)}
        for op in fragment.ops:
            found = self._outputs(op, [values[v.name] for v in op.inputs])
            values.update(zip((v.name for v in op.outputs), found, strict=True))
        return [values[v.name].features for v in fragment.outputs]

    def _outputs(self, op: Op, inputs: Sequence[_Channels]) -> list[_Channels]:
        x = inputs[0]
        match op:
            case ops.LearnedReactivation():
                self._kept = _numpy(self._learned(op).channel_mask)
            case ops.Conv() | ops.Linear():
                self._read(op, x)
            case ops.Gather():
                return [_Channels(x.features, _numpy(self._module(op).index))]
            case ops.Shuffle():
                return [_Channels(x.features[shuffled(op.groups, len(x.features))])]
            case ops.Concat():
                return [_Channels(np.concatenate([value.features for value in inputs]))]
            case ops.Split():
                ends = np.cumsum([v.channels for v in op.outputs])[:-1]
                return [_Channels(part) for part in np.split(x.features, ends)]
            case ops.Flatten():
                return [_Channels(np.repeat(x.features, op.input.size**2))]
            case ops.Scatter():
                self._kept = self._named(op, op.output.channels)
            case ops.IndexAdd():
                self._kept = self._named(op, len(x.features))
                return [self._updated(x)]
            case ops.Add():
                return [self._updated(x) if op.name == "sfr_add" else _made(len(x.features))]
            case _:
                return [x]
        return [_made(op.output.channels)]

    def _module(self, op: Op) -> Any:
        return self._modules.get_submodule(op.name)

    def _learned(self, op: Op) -> LearnedLayer:
        return cast(LearnedLayer, self._module(op))

    def _named(self, op: Op, channels: int) -> NDArray[np.bool_]:
        """Which channels each group of the condensed reactivation before ``op`` updates."""
        (before,) = [o for o in self._step.fragment.ops if o.name == "sfr"]
        groups = cast(ops.Conv, before).groups
        kept = np.zeros((groups, channels), dtype=bool)
        np.put_along_axis(kept, _numpy(self._module(op).index).reshape(groups, -1), True, axis=1)
        return kept

    def _updated(self, x: _Channels) -> _Channels:
        """``x`` after a reactivation, of which each group updates all where none is learned."""
        kept = np.ones((1, len(x.features)), dtype=bool) if self._kept is None else self._kept
        self.updates.append(Update(layer=self._step.name, features=x.features, kept=kept))
        return x

    def _read(self, op: ops.Conv | ops.Linear, x: _Channels) -> None:
        """Notes what is read, unless the step itself has made it."""
        if op.name == "sfr" or (x.of == _OWN).all():
            return
        strength, weights = strengths(self._module(op), len(x.of), x.at)
        others = x.of != _OWN
        self.readings.append(
            Reading(
                layer=self._step.name,
                op=op.name,
                features=x.of[others],
                strength=strength[:, others],
                weights=weights,
            )
        )


def _numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
