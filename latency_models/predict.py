"""The milliseconds of a network on a device: the sum over its kernels of price times amount."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from latency_models.devices import Device, device
from latency_models.kernels import Kernel, features
from latency_models.sketch import MACS, Row, kernel, sketch
from search_space.plan import FRAGMENT_CACHE_SIZE, Planner, Shape, Writer

if TYPE_CHECKING:
    from search_space.spec import NetworkSpec

DEFAULT_DEVICE = "raspberry-pi-4/ncnn/1"
MEASURED_FROM_NETWORKS = 3
"""A kind of kernel in fewer networks of the fit is not told apart from its neighbours there."""
GUESS_FACTOR = 2.0
"""How far off, up or down, the price of a kind that was never measured is taken to be."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The predicted time of one image on the CPU.

    Attributes:
        ms: Milliseconds.
        low_ms: Lower end of the interval that holds the measured time about nine times in ten.
        high_ms: Its upper end.
        unpriced: Kinds of kernels that the device has no price for; ``ms`` lacks them.
        extrapolated: Sentences on what lies outside the networks that were measured; the
            interval is wider for them.
    """

    ms: float
    low_ms: float
    high_ms: float
    unpriced: tuple[str, ...]
    extrapolated: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.ms:.1f} ms [{self.low_ms:.1f}, {self.high_ms:.1f}]"


class _Price(NamedTuple):
    macs: int
    ms: float
    guessed_ms: float
    guessed: frozenset[str]
    unpriced: frozenset[str]


def kernel_ms(kernel: Kernel, on: Device) -> float | None:
    """Milliseconds of one kernel; None where the device lacks one of its prices."""
    ns = 0.0
    for name, amount in features(kernel):
        if name not in on.weights:
            return None
        ns += on.weights[name] * amount
    return ns / 1e6


class _Charge(NamedTuple):
    """What one kernel adds to the price; ``doubt`` is its kind where that is not as measured."""

    ms: float
    doubt: str
    priced: bool


def _charge(kernel: Kernel, on: Device) -> _Charge:
    ms = kernel_ms(kernel, on)
    if ms is None:
        return _Charge(0.0, kernel.kind, False)
    measured = on.measured_kinds.get(kernel.kind, 0) >= MEASURED_FROM_NETWORKS
    return _Charge(ms, "" if measured else kernel.kind, True)


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def _row_charge(row: Row, on: Device) -> _Charge:
    return _charge(kernel(row), on)


def _sum(macs: int, charges: Iterable[_Charge]) -> _Price:
    total = guessed_ms = 0.0
    guessed: set[str] = set()
    unpriced: set[str] = set()
    for ms, doubt, priced in charges:
        total += ms
        if doubt:
            guessed_ms += ms
            (guessed if priced else unpriced).add(doubt)
    return _Price(macs, total, guessed_ms, frozenset(guessed), frozenset(unpriced))


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def _step_price(
    writer: Writer, shapes: tuple[Shape, ...], settings: tuple[Any, ...], on: Device
) -> tuple[_Price, tuple[Shape, ...]]:
    rows, outputs = sketch(writer, shapes, settings)
    macs = sum([row[MACS] for row in rows])
    return _sum(macs, [_row_charge(row, on) for row in rows]), outputs


class _Pricing(Planner):
    """Prices every step."""

    def __init__(self, on: Device) -> None:
        self.on = on
        self.prices: list[_Price] = []

    def _step(
        self, name: str, writer: Writer, inputs: Sequence[Shape], settings: tuple[Any, ...]
    ) -> tuple[Shape, ...]:
        price, outputs = _step_price(writer, tuple(inputs), settings, self.on)
        self.prices.append(price)
        return outputs


def predict_on(spec: NetworkSpec, on: Device) -> Latency:
    """As :func:`predict`, on a device that is not shipped."""
    pricing = _Pricing(on)
    spec.write(pricing, Shape(spec.image_channels, spec.image_size))
    return _latency(pricing.prices, on)


def predict_kernels(executed: Iterable[Kernel], on: Device) -> Latency:
    """The latency of a network of which only the kernels are known."""
    executed = tuple(executed)
    macs = sum([k.macs for k in executed])
    return _latency([_sum(macs, [_charge(k, on) for k in executed])], on)


def breakdown_ms(executed: Iterable[Kernel], on: Device) -> dict[str, float]:
    """Milliseconds by the kind of kernel, the largest first; kinds without a price are left out."""
    by_kind: dict[str, float] = defaultdict(float)
    for k in executed:
        ms = kernel_ms(k, on)
        if ms is not None:
            by_kind[k.kind] += ms
    return dict(sorted(by_kind.items(), key=lambda item: -item[1]))


def _latency(prices: Sequence[_Price], on: Device) -> Latency:
    ms = sum(p.ms for p in prices)
    guessed_ms = sum(p.guessed_ms for p in prices)
    guessed = frozenset[str]().union(*(p.guessed for p in prices))
    unpriced = frozenset[str]().union(*(p.unpriced for p in prices))

    residual = on.error.log_residual_90
    network_macs = sum(p.macs for p in prices)
    least, largest = on.macs_range
    outside = not least <= network_macs <= largest
    if outside:
        residual *= GUESS_FACTOR
    known_ms = ms - guessed_ms
    return Latency(
        ms=ms,
        low_ms=(known_ms + guessed_ms / GUESS_FACTOR) * math.exp(-residual),
        high_ms=(known_ms + guessed_ms * GUESS_FACTOR) * math.exp(residual),
        unpriced=tuple(sorted(unpriced)),
        extrapolated=_remarks(on, guessed, network_macs if outside else None),
    )


def _remarks(on: Device, guessed: frozenset[str], outside_macs: int | None) -> tuple[str, ...]:
    remarks = [
        f"{kind}: in {on.measured_kinds.get(kind, 0)} of the {len(on.networks)} networks measured"
        for kind in sorted(guessed)
    ]
    if outside_macs is not None:
        least, largest = on.macs_range
        remarks.append(
            f"{outside_macs / 1e6:.1f} M MACs: outside the {least / 1e6:.1f} to"
            f" {largest / 1e6:.1f} M of the networks measured"
        )
    return tuple(remarks)


def predict(spec: NetworkSpec, device_key: str = DEFAULT_DEVICE) -> Latency:
    """The latency of the condensed network on a device, batch 1.

    Args:
        spec: The network.
        device_key: One of ``DEVICES``: ``board/runtime/threads``.

    Raises:
        UnknownName: no such device; the message names those like it.
    """
    return predict_on(spec, device(device_key))
