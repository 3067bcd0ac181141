"""What a kernel is charged for on a device: by its kind, or by what emulation counted of it.

Boards are measured with networks that hold no gathers and hardly a grouped convolution. What such
a kernel executes is known from emulation (:mod:`latency_models.counting`); what an instruction and
a cache miss cost on the board follows from the networks measured there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from latency_models.counting.model import COUNTERS, counters
from latency_models.devices import Device
from latency_models.kernels import Kernel, features

COUNTED = tuple(f"ns_per_count.{counter}" for counter in COUNTERS)
"""Names of the prices of what is counted."""
COUNTED_PRIOR: Mapping[str, float] = dict(zip(COUNTED, (1.0, 1.0, 8.0, 80.0), strict=True))
"""Their ratios before anything is measured: of an instruction, a line from the second level of the
cache and one from memory, as the latencies of these cores are."""


@lru_cache(maxsize=200_000)
def counted(kernel: Kernel, runtime: str, precision: str) -> tuple[tuple[str, float], ...]:
    """What emulation says that a kernel executes, as pairs of a price's name and an amount; empty
    where it says nothing."""
    known = counters(runtime, precision)
    counts = known.counts(kernel) if known else None
    return tuple(zip(COUNTED, counts, strict=True)) if counts else ()


def charges(kernel: Kernel, on: Device) -> Iterable[tuple[str, float]]:
    """Pairs of a price's name and an amount; not every device has every price."""
    factor = on.counted_kinds.get(kernel.kind)
    if factor is None or kernel.is_unknown:
        return features(kernel)
    found = counted(kernel, on.runtime, on.precision)
    return [(name, factor * amount) for name, amount in found] or features(kernel)
