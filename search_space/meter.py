"""Counts a network without writing it down: thousands of networks a second, without torch.

The :class:`Meter` is handed to the writers of the layers in place of the pen that writes
operations down, and only counts. A test holds its counts against the plan's, operation by
operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import mul
from typing import TYPE_CHECKING, Any, NamedTuple

from search_space.dense_block import DenseStage, LayerSettings, dense_layer
from search_space.fetch import fetched
from search_space.plan import Learned, Pen, Planner, Reactivation, Shape, Writer

if TYPE_CHECKING:
    from search_space.blocks import Stage
    from search_space.spec import NetworkSpec


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

    def learned(
        self, name: str, x: Shape, channels: int, how: Learned, kept: int, activation: str
    ) -> Shape:
        inputs, size = x
        groups = how.groups
        area = size * size
        weights = channels * kept
        # The gather stands before the norm, which therefore holds what is gathered.
        self.condensed_params += weights + 2 * groups * kept
        self.masked_params += (channels + 2) * inputs
        self.paper_params += weights + 2 * inputs
        self.condensed_macs += weights * area
        self.masked_macs += channels * inputs * area
        self.activations += channels * area
        self.activated += inputs * area
        self.gathered += groups * kept * area
        return self.shuffle(name, Shape(channels, size), groups)

    def sparse(self, x: Shape, new: Shape, how: Reactivation, kept: int, activation: str) -> Shape:
        outputs, size = x
        inputs = new.channels
        groups = how.groups
        area = size * size
        self.norm_act("sfr", new if how.order == "pre" else x, activation)
        self.shuffle("sfr_shuffle", new, inputs // groups)
        window = how.kernel * how.kernel
        weights = inputs * kept * window
        dense = inputs * outputs * window
        self.condensed_params += weights
        self.paper_params += weights
        self.masked_params += dense
        self.condensed_macs += weights * area
        self.masked_macs += dense * area
        self.activations += groups * kept * area
        self.gathered += groups * kept * area
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


# --- Dense stages at once ---------------------------------------------------------------------


class _Layer:
    """What a dense layer counts, as a function of the channels that it reads.

    What groups keep grows by a whole block each ``block * C`` (or S) channels, and everything else
    is proportional to channels. So the counts grow by equal amounts with each ``period`` channels,
    and those of one period are all that has to be metered.
    """

    __slots__ = ("_in_period", "_settings", "_size", "block", "least", "period", "slope")

    def __init__(self, settings: LayerSettings, size: int) -> None:
        learned, sfr = settings.learned, settings.sfr
        factors = (learned.factor if settings.bottleneck else 1, sfr.factor if sfr else 1)
        self.block = learned.block if max(factors) > 1 else 1
        self.period = self.block * math.lcm(*factors)
        self.least = self.block * max(factors)
        self._settings, self._size = settings, size
        first, second = self._meter(self.period), self._meter(2 * self.period)
        self._in_period = {0: first}
        self.slope = tuple([b - a for a, b in zip(first, second, strict=True)])

    def _meter(self, channels: int) -> tuple[int, ...]:
        meter = Meter()
        dense_layer(meter, (Shape(channels, self._size),), self._settings, True)
        return meter.counts

    def at(self, remainder: int) -> tuple[int, ...]:
        """The counts at ``period + remainder`` channels."""
        found = self._in_period.get(remainder)
        if found is None:
            found = self._in_period[remainder] = self._meter(self.period + remainder)
        return found


_layer = lru_cache(maxsize=50_000)(_Layer)


@lru_cache(maxsize=4096)
def _reads(depth: int, fetch: str, base: int) -> tuple[tuple[int, int], ...]:
    """For each layer of a dense stage, and for what follows it: how many layers' features it
    reads, and whether (0 or 1) the stage's input."""
    positions = [fetched(n, fetch, base) for n in range(1, depth + 2)]
    return tuple((len(p) - (0 in p), int(0 in p)) for p in positions)


@lru_cache(maxsize=20_000)
def _dense_stage(stage: DenseStage, entry: Shape) -> list[tuple[int, tuple[int, ...]]] | None:
    """What a stage counts, as multiples of counts; None where a layer cannot exist."""
    channels, size = entry
    k = stage.growth_rate
    reads = _reads(stage.depth, stage.fetch, stage.fetch_base)
    counted: list[tuple[int, tuple[int, ...]]] = []
    for settings, positions in stage.layers_by_settings:
        layer = _layer(settings, size)
        period, block = layer.period, layer.block
        remainders: list[int] = []
        periods = 0
        for position in positions:
            layers, whole = reads[position]
            read = layers * k + whole * channels
            remainder = read % period
            if read < layer.least or remainder % block:
                return None
            periods += read // period
            remainders.append(remainder)
        counted.append((periods - len(positions), layer.slope))
        for remainder in set(remainders):
            counted.append((remainders.count(remainder), layer.at(remainder)))
    return counted


class _CountingPlanner(Planner):
    """Meters every step, dense stages at once."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.stages: list[tuple[int, tuple[int, ...]]] = []

    def _step(
        self, name: str, writer: Writer, inputs: Sequence[Shape], settings: tuple[Any, ...]
    ) -> tuple[Shape, ...]:
        return writer(self.meter, inputs, *settings)

    def stage(self, number: int, stage: Stage, entries: Sequence[Shape]) -> Sequence[Shape]:
        if not isinstance(stage, DenseStage) or len(entries) > 1:
            return stage.write(self, number, entries)
        (entry,) = entries
        counted = _dense_stage(stage, entry)
        if counted is None:
            return stage.write(self, number, entries)  # and be told why
        self.stages += counted
        layers, whole = _reads(stage.depth, stage.fetch, stage.fetch_base)[-1]
        if stage.fetch == "dense":
            return (Shape(entry.channels + layers * stage.growth_rate, entry.size),)
        return (*[entry] * whole, *[Shape(stage.growth_rate, entry.size)] * layers)


def count(spec: NetworkSpec) -> Counts:
    """Counts a network; raises SpecError where a layer cannot exist."""
    planner = _CountingPlanner()
    spec.write(planner, Shape(spec.image_channels, spec.image_size))
    columns = zip(planner.meter.counts, *[c for _, c in planner.stages], strict=True)
    times = [1, *[t for t, _ in planner.stages]]
    return Counts(*[sum(map(mul, times, column)) for column in columns])
