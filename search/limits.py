"""The hard limits of a search, and what a network costs against them before it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from latency_models import DEFAULT_DEVICE, Device, device, predict_on
from results.trial import Estimate
from search_space import (
    InfeasibleBudget,
    NetworkSpec,
    SearchSpace,
    UserError,
    cost,
    format_count,
    macs,
)
from search_space.admission import cheapest
from search_space.errors import shown
from search_space.space import Choices
from searchers import Known

LatencyBound = Literal["point", "high"]
"""Which predicted milliseconds are limited: the estimate, or the upper end of its interval."""
_LIMITED = {"point": "ms", "high": "high_ms"}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Budgets that every trained network keeps; None where there is none.

    ``macs`` are multiply-adds of the condensed target network, ``latency_ms`` its predicted
    milliseconds on ``device``, which also prices the second objective; ``latency_bound`` is what
    of the prediction they limit.
    """

    macs: int | None = None
    latency_ms: float | None = None
    device: Device = field(default_factory=lambda: device(DEFAULT_DEVICE))
    latency_bound: LatencyBound = "point"

    def __post_init__(self) -> None:
        if self.latency_bound not in _LIMITED:
            raise UserError(
                f"`latency_bound` (={self.latency_bound!r}) must be one of {', '.join(_LIMITED)}"
            )

    @property
    def _limited(self) -> str:
        """The field of the predicted latency that is limited."""
        return _LIMITED[self.latency_bound]

    def to_settings(self) -> dict[str, Any]:
        """JSON values, the inverse of :meth:`from_settings`.

        A shipped device is its key, another one all that is known of it: its file may be gone or
        changed when the search goes on.
        """
        on = self.device
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**values, "device": on.key if on.is_shipped else on.to_dict()}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Limits:
        """The limits of such values; raises UserError where the device is none."""
        for name in ("macs", "latency_ms"):
            value = settings[name]
            if value is not None and not isinstance(value, int | float):
                raise UserError(f"`{name}` (={shown(value)}) must be a number")
        named = settings["device"]
        on = device(named) if isinstance(named, str) else Device.from_dict(named)
        return cls(**{**settings, "device": on})

    def ratios(self, spec: NetworkSpec) -> dict[str, float]:
        """Cost over limit by the name of the limit; at most 1 inside."""
        found = {}
        if self.macs is not None:
            found["macs"] = macs(spec) / self.macs
        if self.latency_ms is not None:
            predicted = predict_on(spec, self.device)
            limited_ms: float = getattr(predicted, self._limited)
            found[f"latency_{self._limited}"] = limited_ms / self.latency_ms
        return found

    def price(self, spec: NetworkSpec) -> float:
        """The largest ratio, 0 without limits."""
        return max(self.ratios(spec).values(), default=0.0)

    def constraints(self, estimate: Estimate) -> dict[str, float]:
        """Cost minus limit by the name of the limit; at most 0 inside."""
        limits = {"macs": self.macs, f"latency_{self._limited}": self.latency_ms}
        return {
            name: getattr(estimate, name) - limit
            for name, limit in limits.items()
            if limit is not None
        }

    def estimate(self, spec: NetworkSpec) -> Estimate:
        """Everything that is known of a network before it is trained."""
        price = cost(spec)
        latency = predict_on(spec, self.device)
        return Estimate(
            macs=price.macs,
            params=price.params,
            paper_flops=price.paper_flops,
            latency_ms=latency.ms,
            latency_low_ms=latency.low_ms,
            latency_high_ms=latency.high_ms,
        )

    def known(self, spec: NetworkSpec) -> Known:
        """What of that a searcher may use: predicted milliseconds are the cost."""
        estimate = self.estimate(spec)
        names = ("macs", "params", "latency_ms")
        return Known(
            cost=estimate.latency_ms, inputs={name: getattr(estimate, name) for name in names}
        )

    def feasible(self, space: SearchSpace) -> Choices:
        """The cheapest network of a space.

        Raises:
            InfeasibleBudget: even that one is outside; the message names it and what it costs.
        """
        choices = cheapest(space, self.price)
        spec = space.decode(choices)
        if self.price(spec) > 1:
            raise InfeasibleBudget(
                f"no network of {space.name} was found within {self}: the cheapest,"
                f" {spec}, has {format_count(macs(spec))} MACs and takes"
                f" {predict_on(spec, self.device)} on {self.device.key}; raise the limit, or choose"
                " another --space"
            )
        return choices

    def __str__(self) -> str:
        parts = []
        if self.macs is not None:
            parts.append(f"{format_count(self.macs)} MACs")
        if self.latency_ms is not None:
            what = " for the upper end of the interval" if self.latency_bound == "high" else ""
            parts.append(f"{self.latency_ms:g} ms on {self.device.key}{what}")
        return " and ".join(parts) or "no limit"
