"""Which single change of a network saves the most milliseconds for the capacity that it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from latency_models import Device, Latency, predict_on
from latency_models.kernels import KINDS, Kernel
from search.spending import priced_kernels
from search_space import NetworkSpec, macs
from search_space.neighbours import Neighbour, neighbours

LEAST_SAVING = 0.01
"""Share of the predicted time; to save less is left out, for no prediction can tell so little."""

TIE = 0.01
"""Changes whose worth differs by no more than this share are tied."""


@dataclass(frozen=True, kw_only=True)
class PricedChange:
    """A neighbouring network, priced by the predictor that priced the network itself.

    ``saved_ms`` and ``lost_macs`` are of the network minus of the neighbour; below 0 where it takes
    longer, or has more. ``doubts`` are sentences on kinds of kernels that the device was not
    measured with, and that only the neighbour has.
    """

    neighbour: Neighbour
    saved_ms: float
    lost_macs: int
    doubts: tuple[str, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether it costs no multiply-adds."""
        return self.lost_macs <= 0

    @property
    def worth(self) -> float | None:
        """Milliseconds saved per million multiply-adds lost; None where none are."""
        return None if self.is_free else self.saved_ms / (self.lost_macs / 1e6)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for machines."""
        n = self.neighbour
        return {
            "stage": n.stage,
            "choice": n.choice,
            "before": n.before,
            "after": n.after,
            "id": n.spec.id,
            "saved_ms": self.saved_ms,
            "lost_macs": self.lost_macs,
            "saved_ms_per_lost_million_macs": self.worth,
            "doubts": list(self.doubts),
        }


@dataclass(frozen=True, kw_only=True)
class SingleChanges:
    """What single changes come to.

    Attributes:
        ms: Predicted time of the network itself.
        priced: Every neighbour.
        free: Those that save time and cost no multiply-adds, the greatest saving first.
        paid: Those that save time and cost some, the greatest worth first.
    """

    ms: float
    priced: tuple[PricedChange, ...]
    free: tuple[PricedChange, ...]
    paid: tuple[PricedChange, ...]

    @property
    def best(self) -> tuple[PricedChange, ...]:
        """The best change and those tied with it: of the free ones where there are any, for each
        saves time at no cost; else of the others."""
        return _tied([c.saved_ms for c in self.free], self.free) or self.best_paid

    @property
    def best_paid(self) -> tuple[PricedChange, ...]:
        """The best change of those that cost multiply-adds, and those tied with it."""
        return _tied([c.worth or 0.0 for c in self.paid], self.paid)


def _tied(worths: Sequence[float], ordered: Sequence[PricedChange]) -> tuple[PricedChange, ...]:
    return tuple(c for w, c in zip(worths, ordered, strict=True) if w >= (1 - TIE) * worths[0])


def single_changes(spec: NetworkSpec, on: Device) -> SingleChanges:
    """Prices every network that differs in one choice of one stage
    (:func:`search_space.neighbours.neighbours`).

    Those with a kernel that the device has no price for, and that the network itself has not, or
    less often, are left out: they would only seem to save time.
    """
    own, own_macs = predict_on(spec, on), macs(spec)
    own_unpriced = _unpriced(spec, own, on)
    priced = []
    for neighbour in neighbours(spec):
        predicted = predict_on(neighbour.spec, on)
        if _unpriced(neighbour.spec, predicted, on) <= own_unpriced:
            priced.append(
                PricedChange(
                    neighbour=neighbour,
                    saved_ms=own.ms - predicted.ms,
                    lost_macs=own_macs - macs(neighbour.spec),
                    doubts=tuple(t for t in _doubts(predicted) if t not in _doubts(own)),
                )
            )
    return ranked(own.ms, priced)


def _unpriced(spec: NetworkSpec, predicted: Latency, on: Device) -> Counter[Kernel]:
    """How often a network executes each kernel that the device has no price for."""
    if not predicted.unpriced:
        return Counter()
    return Counter(k.kernel for k in priced_kernels(spec, on) if k.ms is None)


def _doubts(predicted: Latency) -> list[str]:
    return [text for text in predicted.extrapolated if text.partition(":")[0] in KINDS]


def ranked(ms: float, priced: Sequence[PricedChange]) -> SingleChanges:
    """Changes in the order of what they are worth to a network that takes ``ms``."""
    saving = [c for c in priced if c.saved_ms >= LEAST_SAVING * ms]
    return SingleChanges(
        ms=ms,
        priced=tuple(priced),
        free=tuple(sorted((c for c in saving if c.is_free), key=lambda c: -c.saved_ms)),
        paid=tuple(sorted((c for c in saving if not c.is_free), key=lambda c: -(c.worth or 0.0))),
    )
