"""What a network costs: multiply-adds, parameters, traffic and memory; and the papers' counts.

MACs are multiply-adds of convolutions and linear layers per image. Nothing here imports torch.

Searches price thousands of networks a second, so costs are not summed over a plan: the
:class:`Meter` is handed to the writers of the layers in place of the pen that writes operations
down, and only counts. A test holds its counts against the plan's, operation by operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from search_space.errors import UnknownName
from search_space.ops import kept_channels
from search_space.plan import (
    Fragment,
    Learned,
    Pen,
    Plan,
    Planner,
    Reactivation,
    Shape,
    Writer,
)

if TYPE_CHECKING:
    from search_space.spec import NetworkSpec

BYTES_PER_ELEMENT = 4


class Counts(NamedTuple):
    """What is counted of a network, per image.

    ``training_*`` are of the masked form. The condensed form is ``macs`` (of which
    ``linear_macs`` in linear layers), ``params``, ``gather_elements``, ``activations``.
    ``paper_params`` and the rest are what the authors' counters see: the masked form with learned
    layers at their condensed size; elements that ReLU and hard-swish write; elements that
    average pooling reads; biases; and what a squeeze-excite adds to its linear layers (pooling,
    ReLU, and the sigmoid twice).
    """

    macs: int = 0
    linear_macs: int = 0
    params: int = 0
    training_macs: int = 0
    training_params: int = 0
    gather_elements: int = 0
    activations: int = 0
    paper_params: int = 0
    activated_elements: int = 0
    pooled_elements: int = 0
    biases: int = 0
    attention: int = 0


class Meter(Pen):
    """Counts what :class:`search_space.plan.Trace` would write."""

    __slots__ = (
        *("macs", "linear_macs", "params", "masked_macs", "masked_params", "condensed_macs"),
        *("condensed_params", "paper_params", "gathered", "activations", "activated"),
        *("pooled", "biases", "attention"),
    )

    def __init__(self) -> None:
        # What both forms share is added up once.
        self.macs = self.linear_macs = self.params = 0
        self.masked_macs = self.masked_params = 0
        self.condensed_macs = self.condensed_params = self.paper_params = 0
        self.gathered = self.activations = 0
        self.activated = self.pooled = self.biases = self.attention = 0

    @property
    def counts(self) -> tuple[int, ...]:
        """Everything counted so far, in the order of :class:`Counts`."""
        return (
            self.macs + self.condensed_macs,
            self.linear_macs,
            self.params + self.condensed_params,
            self.macs + self.masked_macs,
            self.params + self.masked_params,
            self.gathered,
            self.activations,
            self.params + self.paper_params,
            self.activated,
            self.pooled,
            self.biases,
            self.attention,
        )

    def conv(
        self, name: str, x: Shape, channels: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> Shape:
        size = (x.size - 1) // stride + 1
        weights = channels * (x.channels // groups) * kernel * kernel
        elements = channels * size * size
        self.params += weights
        self.macs += weights * size * size
        self.activations += elements
        return Shape(channels, size)

    def norm(self, name: str, x: Shape) -> Shape:
        self.params += 2 * x.channels
        return x

    def act(self, name: str, x: Shape, kind: str) -> Shape:
        self.activated += x.channels * x.size * x.size
        return x

    def norm_act(self, name: str, x: Shape, kind: str) -> Shape:
        self.params += 2 * x.channels
        self.activated += x.channels * x.size * x.size
        return x

    def learned(self, name: str, x: Shape, channels: int, how: Learned, activation: str) -> Shape:
        area = x.size * x.size
        kept = kept_channels(x.channels, how.factor, how.block)
        weights = channels * kept
        # The gather stands before the norm, which therefore holds what is gathered.
        self.condensed_params += weights + 2 * how.groups * kept
        self.masked_params += (channels + 2) * x.channels
        self.paper_params += weights + 2 * x.channels
        self.condensed_macs += weights * area
        self.masked_macs += channels * x.channels * area
        self.activations += channels * area
        self.activated += x.channels * area
        self.gathered += how.groups * kept * area
        return self.shuffle(name, Shape(channels, x.size), how.groups)

    def sparse(self, x: Shape, new: Shape, how: Reactivation, activation: str) -> Shape:
        area = x.size * x.size
        kept = kept_channels(x.channels, how.factor, how.block)
        self.norm_act("sfr", new if how.order == "pre" else x, activation)
        self.shuffle("sfr_shuffle", new, new.channels // how.groups)
        window = how.kernel * how.kernel
        weights = new.channels * kept * window
        dense = new.channels * x.channels * window
        self.condensed_params += weights
        self.paper_params += weights
        self.masked_params += dense
        self.condensed_macs += weights * area
        self.masked_macs += dense * area
        self.activations += how.groups * kept * area
        self.gathered += how.groups * kept * area
        return x

    def squeeze_excite(self, name: str, x: Shape, reduction: int, *, normed: bool = False) -> Shape:
        hidden = x.channels // reduction
        weights = 2 * x.channels * hidden
        self.params += weights + 2 * hidden * normed
        self.macs += weights
        self.linear_macs += weights
        # The sigmoid counts twice; the hard one of normed attention is invisible to counters.
        self.attention += x.channels * x.size * x.size + hidden + 2 * x.channels * (not normed)
        return x

    def shuffle(self, name: str, x: Shape, groups: int) -> Shape:
        if groups not in (1, x.channels):
            self.gathered += x.channels * x.size * x.size
        return x

    def concat(self, name: str, values: Sequence[Shape]) -> Shape:
        if len(values) == 1:
            return values[0]
        return Shape(sum([v.channels for v in values]), values[0].size)

    def split(self, name: str, x: Shape, channels: Sequence[int]) -> tuple[Shape, ...]:
        return tuple([Shape(c, x.size) for c in channels])

    def sum(self, name: str, values: Sequence[Shape]) -> Shape:
        return values[0]

    def avg_pool(self, name: str, x: Shape, *, kernel: int, stride: int) -> Shape:
        self.pooled += x.channels * x.size * x.size
        return Shape(x.channels, (x.size - kernel) // stride + 1)

    def max_pool(self, name: str, x: Shape, *, kernel: int, stride: int) -> Shape:
        return Shape(x.channels, (x.size - 1) // stride + 1)

    def global_pool(self, name: str, x: Shape) -> Shape:
        self.pooled += x.channels * x.size * x.size
        return Shape(x.channels, 1)

    def flatten(self, name: str, x: Shape) -> Shape:
        return Shape(x.channels * x.size * x.size, 1)

    def linear(self, name: str, x: Shape, channels: int, *, bias: bool) -> Shape:
        macs = x.channels * channels
        self.macs += macs
        self.linear_macs += macs
        self.params += macs + channels * bias
        self.biases += channels * bias
        self.activations += channels
        return Shape(channels, 1)

    def learned_linear(
        self, name: str, x: Shape, channels: int, factor: int, *, bias: bool, at_conversion: bool
    ) -> Shape:
        kept = x.channels // factor
        self.gathered += kept
        saved = (x.channels - kept) * channels
        self.masked_macs += saved
        self.masked_params += saved
        return self.linear(name, Shape(kept, 1), channels, bias=bias)


class _CountingPlanner(Planner):
    """Meters each distinct step once."""

    def __init__(self) -> None:
        self.counts: list[tuple[int, ...]] = []

    def _step(
        self, name: str, writer: Writer, inputs: Sequence[Shape], settings: tuple[Any, ...]
    ) -> tuple[Shape, ...]:
        key = (writer, *inputs, settings)
        found = _METERED.get(key)
        if found is None:
            meter = Meter()
            outputs = writer(meter, inputs, *settings)
            if len(_METERED) >= METER_CACHE_SIZE:
                _METERED.clear()
            found = _METERED[key] = (meter.counts, outputs)
        self.counts.append(found[0])
        return found[1]


METER_CACHE_SIZE = 500_000
_METERED: dict[tuple[Any, ...], tuple[tuple[int, ...], tuple[Shape, ...]]] = {}


def count(spec: NetworkSpec) -> Counts:
    """Counts a network; raises SpecError where a layer cannot exist."""
    planner = _CountingPlanner()
    spec.write(planner, Shape(spec.image_channels, spec.image_size))
    return Counts(*map(sum, zip(*planner.counts, strict=True)))


# --- The papers' counters ---------------------------------------------------------------------


class Convention(NamedTuple):
    """What an authors' counter adds up: how often each of these."""

    macs: int = 1
    activated_elements: int = 0
    pooled_elements: int = 0
    biases: int = 0
    attention: int = 0

    def flops(self, counts: Counts) -> int:
        """The counter's figure."""
        return sum(weight * getattr(counts, name) for name, weight in self._asdict().items())


PAPER_COUNTERS: dict[str, Convention] = {
    # utils.measure_model of the authors' CondenseNet: adds ReLU, pooling and biases.
    "condensenet": Convention(activated_elements=1, pooled_elements=1, biases=1),
    # utils.tools of the authors' CondenseNetV2: the same without biases; functional code (index,
    # residual, scaling) is invisible to it. SFR-ShuffleNetV2's printed counts agree with it.
    "condensenetv2": Convention(activated_elements=1, pooled_elements=1, attention=1),
    # Convolutions and linear layers alone: ShuffleNetV2, ResNet, DenseNet.
    "plain": Convention(),
    # A multiply-add as two operations: SparseNet on ImageNet.
    "twice": Convention(macs=2),
}


def paper_convention(spec: NetworkSpec) -> str:
    """The counter that the nearest paper used.

    Reactivation, hard-swish, a hidden layer or squeeze-excite: CondenseNetV2's (but ShuffleNetV2+
    without reactivation is counted plainly); else learned groups: CondenseNet's; else exponential
    fetch on ImageNet: twice the multiply-adds; else multiply-adds alone.
    """
    stages = spec.stages
    if any(getattr(s, "reactivating_layers", ()) for s in stages):
        return "condensenetv2"
    if all(s.kind == "shuffle" for s in stages):
        return "plain"
    modern = any(s.se_reduction or s.activation != "relu" for s in stages)
    if modern or spec.head.features or spec.head.se_reduction:
        return "condensenetv2"
    if any(s.learns for s in stages):
        return "condensenet"
    sparse = any(getattr(s, "fetch", "dense") != "dense" for s in stages)
    return "twice" if sparse and spec.image_size > 32 else "plain"


# --- The price ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The price of one network per image.

    ``macs`` and ``params`` are those of the condensed network as executed and stored;
    ``training_*`` those of the masked one; ``paper_*`` follow the authors' counter
    (``paper_convention`` names it). ``gather_elements`` are elements that gathers, shuffles and
    index-adds move, ``activations`` elements that convolutions and linear layers write.
    """

    spec: NetworkSpec
    macs: int
    params: int
    training_macs: int
    training_params: int
    paper_flops: int
    paper_params: int
    paper_convention: str
    gather_elements: int
    activations: int

    @cached_property
    def peak_activation_mb(self) -> float:
        """The largest sum of tensors alive at once, in single precision.

        It depends on the order of execution and therefore needs the whole plan, unlike the rest.
        """
        return peak_elements(self.spec.plan("condensed")) * BYTES_PER_ELEMENT / 1e6

    def to_dict(self) -> dict[str, int | float | str]:
        """Every figure by its name."""
        names = [name for name in self.__dataclass_fields__ if name != "spec"]
        return {name: getattr(self, name) for name in [*names, "peak_activation_mb"]}


def cost(spec: NetworkSpec, *, convention: str | None = None) -> Cost:
    """Prices a network.

    Args:
        spec: The network.
        convention: A key of ``PAPER_COUNTERS``; by default that of the nearest paper.

    Raises:
        UnknownName: no such convention.
    """
    convention = convention or paper_convention(spec)
    if convention not in PAPER_COUNTERS:
        raise UnknownName("counting convention", convention, PAPER_COUNTERS)
    counts = spec.counts
    return Cost(
        spec=spec,
        macs=counts.macs,
        params=counts.params,
        training_macs=counts.training_macs,
        training_params=counts.training_params,
        paper_flops=PAPER_COUNTERS[convention].flops(counts),
        paper_params=counts.paper_params,
        paper_convention=convention,
        gather_elements=counts.gather_elements,
        activations=counts.activations,
    )


def macs(spec: NetworkSpec) -> int:
    """Multiply-adds of the condensed network alone; what a budget tests thousands of times."""
    return spec.counts.macs


# --- Memory ---------------------------------------------------------------------------------------


def _peak(fragment: Fragment) -> int:
    """The most elements alive at once inside a fragment, its inputs alive throughout."""
    last = {value.name: i for i, op in enumerate(fragment.ops) for value in op.inputs}
    kept = {v.name for v in (*fragment.inputs, *fragment.outputs)}
    alive = {v.name: v.elements for v in fragment.inputs}
    peak = sum(alive.values())
    for i, op in enumerate(fragment.ops):
        alive |= {v.name: v.elements for v in op.outputs}
        peak = max(peak, sum(alive.values()))
        for value in op.inputs:
            if last[value.name] == i and value.name not in kept:
                alive.pop(value.name, None)
    return peak


def peak_elements(plan: Plan) -> int:
    """The most elements alive at once, each tensor freed after its last reader."""
    last = plan.last_reader()
    alive = {plan.input.name: plan.input.elements}
    peak = 0
    for i, step in enumerate(plan.steps):
        waiting = sum(n for name, n in alive.items() if name not in step.inputs)
        peak = max(peak, waiting + _peak(step.fragment))
        for name in step.inputs:
            if last[name] == i:
                alive.pop(name, None)
        for name, value in zip(step.outputs, step.fragment.outputs, strict=True):
            if name in last:
                alive[name] = value.elements
    return peak
