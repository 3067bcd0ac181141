"""Fits the prices of every device to published measurements and writes the data files.

::

    python -m latency_models.fit --measurements DIR [--out latency_models/data]

``DIR`` holds the tables of :mod:`latency_models.sources`. The same tables give the same bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from latency_models.charges import COUNTED, COUNTED_PRIOR, counted
from latency_models.counting.builds import BUILDS, RuntimeBuild
from latency_models.counting.model import counters
from latency_models.devices import DATA, Device, FitError
from latency_models.kernels import KINDS, Kernel, features
from latency_models.predict import MEASURED_FROM_NETWORKS
from latency_models.priors import prior
from latency_models.sources import Measurements, ncnn_measurements, phone_measurements
from search_space.errors import UserError

PRIOR_STRENGTH = 0.02
"""Weight of the prior beside the sum of squared relative errors of the networks. Small: it decides
what they leave open. Between 0.006 and 0.03 no source's mean error moves by more than 0.4 % of the
measured time."""
LEAST_OF_PRIOR = 0.25
"""No price falls below this part of the prior's: nothing is free, and a search would exploit it."""
LARGE_ERROR = 0.05
"""Relative error from which on a network counts linearly instead of squared (Huber's loss): a
network with something in it that no price tells apart must not bend the prices of all others."""
ROBUST_STEPS = 5
ERROR_DIGITS = 4
WEIGHT_DIGITS = 6

NEAREST = {
    "ns_per_mac.grouped_pointwise": "ns_per_mac.pointwise",
    "ns_per_mac.grouped_conv": "ns_per_mac.conv",
}
"""Convolutions in groups whose price follows another one's, in the ratio of the prior, where fewer
than ``MEASURED_FROM_NETWORKS`` networks hold them: fitted to one network, it would be whatever
makes up for that network's other errors, and a search would exploit it."""

Matrix = NDArray[np.float64]
Charge = Callable[[Kernel], Iterable[tuple[str, float]]]
"""What a kernel is charged for: pairs of a price's name and an amount."""


# --- Least squares ----------------------------------------------------------------------------


def solve(
    amounts: Matrix, measured_ms: Matrix, prior: Matrix, strength: float = PRIOR_STRENGTH
) -> Matrix:
    """Prices that minimise the relative error, drawn towards a prior and never far below it.

    The prior gives the ratios between prices; its scale is fitted. A price that no network
    decides keeps its ratio to the others. Errors up to ``LARGE_ERROR`` count squared, larger ones
    linearly.

    Args:
        amounts: What each network is charged for, shape ``(networks, prices)``.
        measured_ms: Shape ``(networks,)``.
        prior: Relative prices, all positive, shape ``(prices,)``.
        strength: Weight of the prior.

    Returns:
        Milliseconds per unit, shape ``(prices,)``.
    """
    relative = amounts * prior / measured_ms[:, None]
    pull = math.sqrt(strength) * np.eye(len(prior))
    prices = np.zeros(len(prior))
    trust = np.ones(len(measured_ms))
    for _ in range(ROBUST_STEPS):
        by_prior = trust * relative.sum(axis=1)
        scale = by_prior @ trust / (by_prior @ by_prior)
        rows = np.vstack([relative * (trust[:, None] * scale), pull])
        target = np.concatenate([trust, np.diag(pull)])
        above_least = nnls(rows, target - rows.sum(axis=1) * LEAST_OF_PRIOR)[0]
        prices = (above_least + LEAST_OF_PRIOR) * scale
        error = np.abs(relative @ prices - 1)
        # Iteratively reweighted least squares; `trust` is the root of the weight.
        trust = np.sqrt(LARGE_ERROR / np.maximum(error, LARGE_ERROR))
    return np.asarray(prices * prior)


def leave_out(
    amounts: Matrix, measured_ms: Matrix, prior: Matrix, families: Sequence[str]
) -> Matrix:
    """Predicted over measured for each network by prices fitted to all other families."""
    ratios = np.zeros(len(measured_ms))
    for family in sorted(set(families)):
        inside = np.array([f == family for f in families])
        prices = solve(amounts[~inside], measured_ms[~inside], prior)
        ratios[inside] = amounts[inside] @ prices / measured_ms[inside]
    return ratios


def charged(
    networks: Iterable[Sequence[Kernel]], columns: Sequence[str], charge: Charge = features
) -> Matrix:
    """What each network is charged for, shape ``(networks, columns)``."""
    place = {column: i for i, column in enumerate(columns)}
    rows = []
    for kernels in networks:
        row = np.zeros(len(columns))
        for kernel in kernels:
            for name, amount in charge(kernel):
                row[place[name]] += amount
        rows.append(row)
    return np.array(rows)


def fit_error(ratios: Matrix) -> FitError:
    """What predicted over measured of networks left out sums up to, shape ``(networks,)``."""
    error = np.abs(ratios - 1)
    residuals = np.sort(np.abs(np.log(ratios)))
    # The rank that holds for a network not among them (split conformal prediction), between two
    # residuals: the next above would hold for 95 % where there are only 19.
    rank = 0.9 * (len(residuals) + 1)
    residual_90 = np.interp(rank, np.arange(1, len(residuals) + 1), residuals)
    return FitError(
        mean=round(float(error.mean()), ERROR_DIGITS),
        median=round(float(np.median(error)), ERROR_DIGITS),
        within_10_percent=round(float((error <= 0.1).mean()), ERROR_DIGITS),
        within_20_percent=round(float((error <= 0.2).mean()), ERROR_DIGITS),
        log_residual_90=round(float(residual_90), ERROR_DIGITS),
    )


# --- Devices ----------------------------------------------------------------------------------


def fit(measured: Measurements) -> Device:
    """A device from the milliseconds of some networks whose kernels are known.

    Networks without kernels are left out.

    Raises:
        UserError: fewer than three networks are left, or all are of one family.
    """
    names, families = measured.names, measured.families()
    if len(names) < 3:
        raise UserError(
            f"{measured.key}: {len(names)} networks with layers and a time; at least 3 needed"
        )
    if len(families) < 2:
        raise UserError(f"{measured.key}: all networks are of one family; at least 2 needed")
    networks = [measured.networks[name] for name in names]
    relative_prices = prior(measured.runtime, measured.precision, measured.threads)
    columns = sorted(relative_prices)
    amounts = charged(networks, columns)
    times = np.array([measured.measured_ms[name] for name in names])
    ratios = np.array([relative_prices[column] for column in columns])
    kinds = Counter[str](kind for kernels in networks for kind in {k.kind for k in kernels})
    followers = {
        columns.index(name): columns.index(nearest)
        for name, nearest in NEAREST.items()
        if kinds[name.rpartition(".")[2]] < MEASURED_FROM_NETWORKS
    }
    for i, nearest in followers.items():
        amounts[:, nearest] += amounts[:, i] * ratios[i] / ratios[nearest]
        amounts[:, i] = 0
    prices_ns = solve(amounts, times, ratios) * 1e6
    for i, nearest in followers.items():
        prices_ns[i] = prices_ns[nearest] * ratios[i] / ratios[nearest]
    macs = [sum(kernel.macs for kernel in kernels) for kernels in networks]
    by_counts = counted_prices(measured)
    left_out = leave_out(amounts, times, ratios, [measured.family(name) for name in names])
    return Device(
        board=measured.board,
        runtime=measured.runtime,
        threads=measured.threads,
        precision=measured.precision,
        core=measured.core,
        source=measured.source,
        licence=measured.licence,
        note=measured.note,
        weights={
            column: round(float(ns), WEIGHT_DIGITS)
            for column, ns in zip(columns, prices_ns, strict=True)
        }
        | by_counts,
        measured_kinds=dict(sorted(kinds.items())),
        networks=tuple(names),
        macs_range=(min(macs), max(macs)),
        error=fit_error(left_out),
        counted_kinds=_anchored(
            networks, measured, dict(zip(columns, prices_ns, strict=True)), by_counts
        )
        if by_counts
        else {},
    )


ANCHORS: Mapping[str, str] = {
    "grouped_conv": "conv",
    "gather": "concat",
    "index_add": "concat",
}
"""Kinds of kernels that are priced by counts, and the measured kind that each is most like. Grouped
1x1 convolutions are not among them: those of ShuffleNet take what the price of dense ones tells."""


def _anchored(
    networks: Sequence[Sequence[Kernel]],
    measured: Measurements,
    prices_ns: Mapping[str, float],
    counted_ns: Mapping[str, float],
) -> dict[str, float]:
    """By how much the fitted price of the kind that each is most like exceeds its price by counts,
    over the networks: counts know nothing of calls, and little of memory."""

    def share(kind: str, prices: Mapping[str, float], charge: Charge) -> float:
        """Of the networks' time, summed."""
        return sum(
            prices[price] * amount / measured.measured_ms[name]
            for name, kernels in zip(measured.names, networks, strict=True)
            for kernel in kernels
            if kernel.kind == kind
            for price, amount in charge(kernel)
        )

    by_counts = partial(counted, runtime=measured.runtime, precision=measured.precision)
    found = {}
    for kind, like in ANCHORS.items():
        fitted, by_count = share(like, prices_ns, features), share(like, counted_ns, by_counts)
        found[kind] = round(float(fitted / by_count), ERROR_DIGITS) if by_count else 1.0
    return found


def counted_amounts(measured: Measurements) -> Matrix | None:
    """What emulation says that each network executes, shape ``(networks, prices)``; None where it
    says nothing of the runtime."""
    if counters(measured.runtime, measured.precision) is None:
        return None
    networks = [measured.networks[name] for name in measured.names]
    charge = partial(counted, runtime=measured.runtime, precision=measured.precision)
    return charged(networks, COUNTED, charge)


def counted_prices(measured: Measurements) -> dict[str, float]:
    """What is counted costs so many nanoseconds on the board; empty where nothing was counted."""
    amounts = counted_amounts(measured)
    if amounts is None:
        return {}
    times = np.array([measured.measured_ms[name] for name in measured.names])
    prices_ns = solve(amounts, times, np.array([COUNTED_PRIOR[name] for name in COUNTED])) * 1e6
    return {
        name: round(float(ns), WEIGHT_DIGITS) for name, ns in zip(COUNTED, prices_ns, strict=True)
    }


TRANSFERRED = (
    *("raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5", "raspberry-pi-zero-2w"),
    *("jetson-nano", "jetson-orin-nano", "rk3399", "rk3588"),
)
"""Boards that nobody has published times of onnxruntime for, and that people run it on."""


def transferred(measured: Measurements, to: RuntimeBuild) -> Device:
    """The board under a runtime that it was not measured with: the instructions and misses of that
    runtime's kernels, at the prices that they have in the networks measured.

    Its error is that of such prices on the networks measured, left out one at a time.
    """
    amounts = counted_amounts(measured)
    assert amounts is not None
    own = fit(measured)
    times = np.array([measured.measured_ms[name] for name in measured.names])
    ratios = np.array([COUNTED_PRIOR[name] for name in COUNTED])
    families = [measured.family(name) for name in measured.names]
    return dataclasses.replace(
        own,
        runtime=to.runtime,
        precision=to.precision,
        note=f"Not measured under {to.runtime}: what emulation counts of its kernels, at the prices"
        f" that instructions and cache misses have in {len(own.networks)} networks measured under"
        f" {own.runtime}. Calibrate it before you rely on its milliseconds.",
        weights={name: own.weights[name] for name in COUNTED},
        measured_kinds={},
        networks=(),
        error=fit_error(leave_out(amounts, times, ratios, families)),
        counted_kinds=dict.fromkeys(KINDS, 1.0),
    )


def devices(directory: Path) -> Iterator[Device]:
    """All devices that the tables of a folder tell of. Raises UserError."""
    onnxruntime = next(build for build in BUILDS if build.runtime == "onnxruntime")
    for measured in ncnn_measurements(directory):
        yield fit(measured)
        if measured.board in TRANSFERRED and measured.threads == 1:
            yield transferred(measured, onnxruntime)
    yield from map(fit, phone_measurements(directory))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; prints one row per device."""
    parser = argparse.ArgumentParser(prog="python -m latency_models.fit", description=__doc__)
    parser.add_argument("--measurements", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--out", type=Path, default=DATA, help="where the device files go")
    options = parser.parse_args(arguments)
    try:
        found = list(devices(options.measurements))
    except UserError as error:
        parser.exit(error.exit_code, f"{error}\n")
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{'device':30}{'networks':>9}{'mean':>8}{'median':>8}{'in 10 %':>9}{'in 20 %':>9}")
    for device in found:
        (options.out / device.file_name).write_text(device.to_yaml(), encoding="utf-8")
        e = device.error
        print(
            f"{device.key:30}{len(device.networks):>9}{e.mean:>8.1%}{e.median:>8.1%}"
            f"{e.within_10_percent:>9.0%}{e.within_20_percent:>9.0%}"
        )


if __name__ == "__main__":
    main()
