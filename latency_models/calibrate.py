"""One's own board: the prices of a known device, brought to times that were measured there.

A few networks cannot tell all prices of a board. One scale is what one network can tell; from
``WEIGHTS_FROM_NETWORKS`` on every price moves, as far as the times ask for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from latency_models.charges import charges
from latency_models.devices import Device, FitError
from latency_models.fit import ERROR_DIGITS, Matrix, fit_error, solve
from latency_models.kernels import Kernel
from latency_models.sources import Networks
from search_space.budget import counted
from search_space.errors import UserError

WEIGHTS_FROM_NETWORKS = 5
ERROR_FROM_NETWORKS = 3
"""From here on, networks left out tell the error."""
INTERVAL_FROM_NETWORKS = 9
"""The largest of fewer residuals is exceeded by more than one network in ten."""
PRIOR_STRENGTH = 0.1
"""Weight of the base's prices beside the sum of squared relative errors. More than in the fit: the
base is a board that was measured, and there are fewer networks. ``benchmarks/calibration.py``
takes others, too: from five to ten networks, none between 0.03 and 0.3 is better by more than one
hundredth of the measured time."""
WEIGHT_DIGITS = 7

Prices = Callable[[Matrix, Matrix], Matrix]
"""Milliseconds per unit from what networks are charged for, shape ``(networks, prices)``, and
their times, shape ``(networks,)``."""


def scale(predicted_ms: Matrix, measured_ms: Matrix) -> float:
    """The factor on predictions that minimises the sum of squared relative errors."""
    ratios = predicted_ms / measured_ms
    return float(ratios.sum() / (ratios @ ratios))


def calibrated(
    base: Device,
    networks: Networks,
    measured_ms: Mapping[str, float],
    *,
    board: str,
    runtime: str | None = None,
    threads: int | None = None,
    core: str = "not told",
    strength: float = PRIOR_STRENGTH,
) -> Device:
    """A device whose prices fit the times of some networks on a board.

    Below ``WEIGHTS_FROM_NETWORKS`` networks all prices of the base times one scale, of least
    squared relative error. From there on all prices, not negative, of least squared relative
    error and drawn towards the scaled ones.

    Args:
        base: The device whose prices are brought to the board.
        networks: The kernels of at least all networks measured.
        measured_ms: Their times.
        board: What the device is called.
        runtime: What they were measured with; that of the base if None.
        threads: With how many; as the base if None.
        core: On which cores.
        strength: Weight of the base's prices beside the times.

    Raises:
        UserError: there is no time, one is not above 0, a network has no kernels or some that
            the base has no price for, or the board's name is none.
    """
    if "/" in board or len(board.split()) != 1:
        raise UserError(f"the board's name {board!r} must be one word without /")
    names = sorted(measured_ms)
    # What a kernel executes is the runtime's own; only prices are the base's.
    there = replace(base, runtime=runtime or base.runtime)
    _check(there, networks, measured_ms)
    columns = sorted(base.weights)
    amounts = _amounts(there, [networks[name] for name in names], columns)
    times = np.array([measured_ms[name] for name in names])
    base_ms = np.array([base.weights[column] for column in columns]) / 1e6
    all_prices = len(names) >= WEIGHTS_FROM_NETWORKS

    def prices(amounts: Matrix, times: Matrix) -> Matrix:
        if all_prices:
            return solve(amounts, times, base_ms, strength=strength)
        return base_ms * scale(amounts @ base_ms, times)

    found_ms = prices(amounts, times)
    device = replace(
        there,
        board=board,
        threads=threads or base.threads,
        core=core,
        source=f"measured on {board}; the prices of {base.key}, from {base.source}",
        note=_note(base, names, scale(amounts @ base_ms, times), all_prices),
        weights={c: _rounded(ms * 1e6) for c, ms in zip(columns, found_ms, strict=True)},
        error=_error(base.error, amounts, times, prices),
    )
    return _with_networks(device, names, networks) if all_prices else device


def _check(base: Device, networks: Networks, measured_ms: Mapping[str, float]) -> None:
    if not measured_ms:
        raise UserError("no network was measured; name one to ten with their milliseconds")
    for name, ms in measured_ms.items():
        if not 0 < ms < math.inf:
            raise UserError(f"the time of {name} (={ms!r}) must be milliseconds above 0")
        if not networks.get(name):
            raise UserError(f"{name} was measured, and its layers are not known")
        lacking = {
            k.kind for k in networks[name] for c, _ in charges(k, base) if c not in base.weights
        }
        if lacking:
            raise UserError(
                f"{base.key} has no price for {', '.join(sorted(lacking))} of {name}; leave the"
                " network out, or choose another base"
            )


def _amounts(base: Device, networks: Sequence[Sequence[Kernel]], columns: Sequence[str]) -> Matrix:
    """What each network is charged for, shape ``(networks, columns)``."""
    amounts = np.zeros((len(networks), len(columns)))
    for row, executed in zip(amounts, networks, strict=True):
        for kernel in executed:
            for name, amount in charges(kernel, base):
                row[columns.index(name)] += amount
    return amounts


def _rounded(price: float) -> float:
    return float(f"{price:.{WEIGHT_DIGITS}g}")


def _note(base: Device, names: Sequence[str], factor: float, all_prices: bool) -> str:
    how = "all its prices fitted, in the mean times" if all_prices else "its prices times"
    return (
        f"Calibrated from {base.key}, {how} {factor:.4g}, with {counted(len(names), 'network')}:"
        f" {', '.join(names)}. The precision is that of the base."
    )


def _with_networks(device: Device, names: Sequence[str], networks: Networks) -> Device:
    """The device with what was measured added to what its base rests on."""
    kinds = Counter(device.measured_kinds)
    for name in names:
        kinds.update({kernel.kind for kernel in networks[name]})
    macs = [sum(kernel.macs for kernel in networks[name]) for name in names]
    return replace(
        device,
        measured_kinds=dict(sorted(kinds.items())),
        networks=(*device.networks, *names),
        macs_range=(min(device.macs_range[0], *macs), max(device.macs_range[1], *macs)),
    )


# --- How wrong it is ------------------------------------------------------------------------------


def _error(base: FitError, amounts: Matrix, times: Matrix, prices: Prices) -> FitError:
    """The error of networks left out, one at a time, or that of the base, widened.

    Of fewer than ``INTERVAL_FROM_NETWORKS`` networks not even the largest residual bounds nine in
    ten, so that their interval is at least the base's, widened.
    """
    widened = _widened(base, len(times))
    if len(times) < ERROR_FROM_NETWORKS:
        return widened
    ratios = []
    for i in range(len(times)):
        others = np.arange(len(times)) != i
        ratios.append(amounts[i] @ prices(amounts[others], times[others]) / times[i])
    own = fit_error(np.asarray(ratios))
    if len(times) >= INTERVAL_FROM_NETWORKS:
        return own
    return replace(own, log_residual_90=max(own.log_residual_90, widened.log_residual_90))


def _widened(base: FitError, networks: int) -> FitError:
    """The base's error on another board, where some networks set the scale.

    Their own errors go into the scale: that of a mean of n adds one n-th to the variance. Shares of
    networks fall at most by the same factor, since small errors are the most frequent.
    ``benchmarks/calibration.py`` measures how many networks of other boards such an interval holds.
    """
    factor = math.sqrt(1 + 1 / networks)
    return FitError(
        mean=round(base.mean * factor, ERROR_DIGITS),
        median=round(base.median * factor, ERROR_DIGITS),
        within_10_percent=round(base.within_10_percent / factor, ERROR_DIGITS),
        within_20_percent=round(base.within_20_percent / factor, ERROR_DIGITS),
        log_residual_90=round(base.log_residual_90 * factor, ERROR_DIGITS),
    )
