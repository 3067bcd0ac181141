"""The milliseconds of a network on a device: the sum over its kernels of price times amount.

A device with a counter prices no kernels, but all FLOPs alike, as that counter of the papers has
them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from latency_models.charges import charges
from latency_models.devices import Device, device
from latency_models.executed import executed_kernels, sketch
from latency_models.kernels import Kernel
from latency_models.sketch import Notebook
from search_space.cost import cost, macs
from search_space.plan import FRAGMENT_CACHE_SIZE, Planner, Shape, Writer

if TYPE_CHECKING:
    from search_space.spec import NetworkSpec

Described: TypeAlias = "NetworkSpec | Sequence[Kernel]"
"""A network as a whole, or its kernels."""
DEFAULT_DEVICE = "raspberry-pi-4/ncnn/1"
MEASURED_FROM_NETWORKS = 3
"""A kind of kernel in fewer networks of the fit is not told apart from its neighbours there."""
GUESS_FACTOR = 2.0
"""How far off, up or down, the price of a kind that was never measured is taken to be."""
_MACS_ALONE = "activations and pooling, which the device's counter adds: not counted of kernels"


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The predicted time of one image on the CPU.

    Attributes:
        ms: Milliseconds.
        low_ms: Lower end of the interval that holds the measured time about nine times in ten.
        high_ms: Its upper end.
        unpriced: Kinds of kernels, or operations of no kind, that the device has no price for;
            ``ms`` lacks them.
        extrapolated: Sentences on what lies outside the networks that were measured; the
            interval is wider for them.
        note: The device's caution; empty for most.
    """

    ms: float
    low_ms: float
    high_ms: float
    unpriced: tuple[str, ...]
    extrapolated: tuple[str, ...]
    note: str = ""

    def __str__(self) -> str:
        return f"{self.ms:.1f} ms [{self.low_ms:.1f}, {self.high_ms:.1f}]"


# Plain tuples, for there are very many, and Python's garbage collector leaves those of numbers and
# text alone.
_Charge: TypeAlias = tuple[int, float, str, bool]
"""What one kernel adds to a price: multiply-adds; milliseconds; its kind where that is not as
measured, else nothing; whether it has a price at all."""
_Price: TypeAlias = tuple[int, float, float, tuple[str, ...], tuple[str, ...]]
"""Multiply-adds, milliseconds, those of guessed kinds, these kinds, and those without a price."""


def kernel_ms(kernel: Kernel, on: Device) -> float | None:
    """Milliseconds of one kernel; None where the device lacks one of its prices."""
    if on.counter is not None:
        return None if kernel.is_unknown else on.ns_per_flop * kernel.macs / 1e6
    ns = 0.0
    for name, amount in charges(kernel, on):
        if name not in on.weights:
            return None
        ns += on.weights[name] * amount
    return ns / 1e6


def _charge(kernel: Kernel, on: Device) -> _Charge:
    ms = kernel_ms(kernel, on)
    if ms is None:
        return kernel.macs, 0.0, kernel.label, False
    measured = on.measured_kinds.get(kernel.kind, 0) >= MEASURED_FROM_NETWORKS
    return kernel.macs, ms, "" if measured else kernel.kind, True


@lru_cache(maxsize=16)
def _price_list(on: Device) -> Notebook[_Charge]:
    """What each kernel met so far adds to a price on a device."""
    return Notebook(lambda kernel: _charge(kernel, on))


def _sum(charges: Iterable[_Charge]) -> _Price:
    macs, total, guessed_ms = 0, 0.0, 0.0
    guessed: set[str] = set()
    unpriced: set[str] = set()
    for of_kernel, ms, doubt, priced in charges:
        macs += of_kernel
        total += ms
        if doubt:
            guessed_ms += ms
            (guessed if priced else unpriced).add(doubt)
    return macs, total, guessed_ms, tuple(guessed), tuple(unpriced)


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def _step_price(
    writer: Writer, shapes: tuple[Shape, ...], settings: tuple[Any, ...], on: Device
) -> tuple[_Price, tuple[Shape, ...]]:
    charges, outputs = sketch(on.runtime, _price_list(on), writer, shapes, settings)
    return _sum(charges), outputs


class _Pricing(Planner):
    """Prices every step."""

    def __init__(self, on: Device) -> None:
        self.on = on
        self.macs, self.ms, self.guessed_ms = 0, 0.0, 0.0
        self.guessed: set[str] = set()
        self.unpriced: set[str] = set()

    def _step(
        self, name: str, writer: Writer, inputs: Sequence[Shape], settings: tuple[Any, ...]
    ) -> tuple[Shape, ...]:
        price, outputs = _step_price(writer, tuple(inputs), settings, self.on)
        self.macs += price[0]
        self.ms += price[1]
        if price[2] or price[4]:
            self.guessed_ms += price[2]
            self.guessed.update(price[3])
            self.unpriced.update(price[4])
        return outputs

    @property
    def price(self) -> _Price:
        """Of all steps so far."""
        return self.macs, self.ms, self.guessed_ms, tuple(self.guessed), tuple(self.unpriced)


def predict_on(spec: NetworkSpec, on: Device) -> Latency:
    """As :func:`predict`, on a device that is not shipped."""
    if on.counter is not None:
        return _latency(_flops_price(cost(spec, convention=on.counter).paper_flops, on), on)
    pricing = _Pricing(on)
    spec.write(pricing, Shape(spec.image_channels, spec.image_size))
    return _latency(pricing.price, on)


def predict_kernels(found: Iterable[Kernel], on: Device) -> Latency:
    """The latency of a network of which only the kernels are known."""
    found = tuple(found)
    macs = sum([k.macs for k in found])
    if on.counter is None:
        return _latency(_sum([_charge(k, on) for k in found]), on)
    unpriced = tuple({k.label for k in found if k.is_unknown})
    return _latency(_flops_price(macs, on, unpriced), on, _MACS_ALONE)


def predict_network(network: Described, on: Device) -> Latency:
    """The latency of a network that is described as a whole or by its kernels."""
    if isinstance(network, Sequence):
        return predict_kernels(network, on)
    return predict_on(network, on)


def described_kernels(network: Described, runtime: str) -> Sequence[Kernel]:
    """The kernels that a runtime executes of a network that is described as a whole or by them."""
    return network if isinstance(network, Sequence) else tuple(executed_kernels(network, runtime))


def network_macs(network: Described) -> int:
    """Its multiply-adds, those of the condensed form where it is described as a whole."""
    return sum([k.macs for k in network]) if isinstance(network, Sequence) else macs(network)


def _flops_price(flops: int, on: Device, unpriced: tuple[str, ...] = ()) -> _Price:
    return flops, on.ns_per_flop * flops / 1e6, 0.0, (), unpriced


def breakdown_ms(network: Described, on: Device) -> dict[str, float]:
    """Milliseconds by the kind of kernel, the largest first; kinds without a price are left out.

    What a device's counter adds to the multiply-adds of a network is called ``not_macs``.
    """
    by_kind: dict[str, float] = defaultdict(float)
    for k in described_kernels(network, on.runtime):
        if ms := kernel_ms(k, on):
            by_kind[k.kind] += ms
    if on.counter is not None and not isinstance(network, Sequence):
        by_kind["not_macs"] = predict_on(network, on).ms - sum(by_kind.values())
    return dict(sorted(by_kind.items(), key=lambda item: -item[1]))


def _latency(price: _Price, on: Device, *remarks: str) -> Latency:
    macs, ms, guessed_ms, guessed, unpriced = price
    residual = on.error.log_residual_90
    least, largest = on.macs_range
    outside = not least <= macs <= largest
    if outside:
        residual *= GUESS_FACTOR
    known_ms = ms - guessed_ms
    return Latency(
        ms=ms,
        low_ms=(known_ms + guessed_ms / GUESS_FACTOR) * math.exp(-residual),
        high_ms=(known_ms + guessed_ms * GUESS_FACTOR) * math.exp(residual),
        unpriced=tuple(sorted(unpriced)),
        extrapolated=(*_remarks(on, guessed, macs if outside else None), *remarks),
        note=on.caution,
    )


def _remarks(on: Device, guessed: tuple[str, ...], outside_macs: int | None) -> tuple[str, ...]:
    if on.counted_kinds and not on.measured_kinds:
        return (f"no kind of kernel was measured under {on.runtime} on {on.board}",)
    remarks = [
        f"{kind}: in {on.measured_kinds.get(kind, 0)} of the {len(on.networks)} networks measured"
        for kind in sorted(guessed)
    ]
    if outside_macs is not None:
        least, largest = on.macs_range
        counted = "MACs" if on.counter is None else "FLOPs"
        remarks.append(
            f"{outside_macs / 1e6:.1f} M {counted}: outside the {least / 1e6:.1f} to"
            f" {largest / 1e6:.1f} M of the networks measured"
        )
    return tuple(remarks)


def predict(spec: NetworkSpec, device_key: str = DEFAULT_DEVICE) -> Latency:
    """The latency of the condensed network on a device, batch 1.

    Args:
        spec: The network.
        device_key: One of ``DEVICES``, ``board/runtime/threads``, or a device file ``.yaml``.

    Raises:
        UnknownName: no such device; the message names those like it.
    """
    return predict_on(spec, device(device_key))
