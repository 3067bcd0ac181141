"""Where the multiply-adds, parameters and milliseconds of a network go: by part and by kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from results.diagram import parts
from search_space.plan import part

if TYPE_CHECKING:
    from latency_models import Device
    from latency_models.kernels import Kernel
    from search_space import NetworkSpec


@dataclass(frozen=True, kw_only=True)
class PricedKernel:
    """One kernel that the device's runtime executes; ``ms`` is None where it has no price."""

    step: str
    kernel: Kernel
    ms: float | None

    @property
    def part(self) -> str:
        """The stem, stage, transition or head that it is of."""
        return part(self.step)

    def __str__(self) -> str:
        k = self.kernel
        window = f" {k.kernel}x{k.kernel}" if k.kernel > 1 else ""
        groups = f", {k.groups} groups" if k.groups > 1 else ""
        # What joins two tensors reads both, and writes one.
        joins = k.kind in ("binary", "index_add")
        pixels = math.isqrt(
            k.out_elements // k.out_channels if joins else k.in_elements // k.in_channels
        )
        return (
            f"{k.label}{window}, {k.in_channels} to {k.out_channels} at {pixels}x{pixels}{groups}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for machines."""
        return {"step": self.step, **asdict(self.kernel), "ms": self.ms}


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What something comes to.

    ``macs`` and ``params`` are of the condensed network; ``executed_macs`` are what the runtime
    multiplies, with the zeros that it multiplies by where that takes less time; ``ms`` is the sum
    of the prices of those of the ``kernels`` kernels that have one, None where none of them has.
    """

    name: str
    kernels: int
    executed_macs: int
    ms: float | None
    macs: int | None = None
    params: int | None = None


def priced_kernels(spec: NetworkSpec, on: Device) -> list[PricedKernel]:
    """Every kernel of a network, in the order of execution."""
    from latency_models.executed import executed_by_step
    from latency_models.predict import kernel_ms

    return [
        PricedKernel(step=step, kernel=kernel, ms=kernel_ms(kernel, on))
        for step, kernels in executed_by_step(spec, on.runtime).items()
        for kernel in kernels
    ]


def by_part(spec: NetworkSpec, priced: Sequence[PricedKernel]) -> list[Spent]:
    """One entry per stem, stage, transition and head."""
    return [
        _spent(p.name, [k for k in priced if k.part == p.name], macs=p.macs, params=p.params)
        for p in parts(spec)
    ]


def by_kind(priced: Sequence[PricedKernel]) -> list[Spent]:
    """One entry per kind of kernel, the slowest first."""
    kinds = dict.fromkeys(k.kernel.label for k in priced)
    spent = [_spent(kind, [k for k in priced if k.kernel.label == kind]) for kind in kinds]
    return sorted(spent, key=lambda s: -(s.ms or 0.0))


def _spent(name: str, priced: Sequence[PricedKernel], **counts: int) -> Spent:
    known = [k.ms for k in priced if k.ms is not None]
    return Spent(
        name=name,
        kernels=len(priced),
        executed_macs=sum(k.kernel.macs for k in priced),
        ms=sum(known) if known or not priced else None,
        **counts,
    )
