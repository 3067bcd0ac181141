"""Fits the counters' coefficients to what emulation counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from latency_models.counting.builds import RuntimeBuild
from latency_models.counting.measure import Counted
from latency_models.counting.model import ANY, Coefficients, Counters, amounts, routine
from latency_models.emulator import Counts

LEAST_KERNELS = 6
"""A routine of which fewer were measured is taken together with its like."""
NEGLIGIBLE = (0.02, 0.02, 0.002, 0.002)
"""Errors of a counter below this share of all instructions of the kernel count as equal."""
DIGITS = 6

Matrix = NDArray[np.float64]


def observed(counts: Counts) -> tuple[float, ...]:
    """What was counted, as ``COUNTERS``."""
    multiply_adds = counts.fma32 + counts.fma16
    # Where the constant of a run was larger than what the run missed.
    misses = max(counts.l1_misses, 0), max(counts.l3_misses, 0)
    return (multiply_adds, counts.instructions - multiply_adds, *misses)


def solve(given: Matrix, counted: Matrix) -> Coefficients:
    """Coefficients of at least 0 that minimise the squared relative errors.

    Args:
        given: Amounts, shape ``(kernels, amounts)``.
        counted: Counters, shape ``(kernels, counters)``.
    """
    instructions = counted[:, 0] + counted[:, 1]
    rows = []
    for counter, share in zip(counted.T, NEGLIGIBLE, strict=True):
        weight = 1 / np.maximum(counter, share * instructions)
        weighted = given * weight[:, None]
        unit = np.abs(weighted).max(axis=0) + 1e-30
        found = nnls(weighted / unit, counter * weight)[0] / unit
        # Where the fit is loose, least relative squares come out too low.
        found *= _correction(given @ found, counter)
        rows.append(tuple(float(f"{value:.{DIGITS}g}") for value in found))
    return tuple(rows)


def _correction(predicted: Matrix, counted: Matrix) -> float:
    """What brings the mean of predicted over counted to 1."""
    executed = counted > 0
    mean = float((predicted[executed] / counted[executed]).mean()) if executed.any() else 0.0
    return 1 / mean if mean > 0 else 1.0


def _by_routine(counted: Sequence[Counted], lanes: int) -> Mapping[str, list[int]]:
    """The kernels of each routine; where they are few, of all whose names begin alike; of each
    kind."""
    exact: dict[str, list[int]] = defaultdict(list)
    alike: dict[str, list[int]] = defaultdict(list)
    for i, (kernel, _) in enumerate(counted):
        name = routine(kernel, lanes)
        exact[name].append(i)
        kind, *words = name.split()
        for n in range(1, len(words) + 1):
            alike[" ".join([kind, *words[:n]])].append(i)
        alike[f"{kind} {ANY}"].append(i)
    alike |= {name: rows for name, rows in exact.items() if len(rows) >= LEAST_KERNELS}
    return {n: rows for n, rows in alike.items() if len(rows) >= LEAST_KERNELS or n.endswith(ANY)}


def fitted(
    build: RuntimeBuild, counted: Sequence[Counted], versions: Mapping[str, str]
) -> Counters:
    """The counters of a build from its measured kernels."""
    given = [amounts(kernel, build.lanes) for kernel, _ in counted]
    seen = np.array([observed(counts) for _, counts in counted], dtype=float)
    return Counters(
        runtime=build.runtime,
        precision=build.precision,
        core=build.core,
        lanes=build.lanes,
        versions=dict(versions),
        routines={
            name: solve(np.array([given[i] for i in rows], dtype=float), seen[rows])
            for name, rows in _by_routine(counted, build.lanes).items()
        },
    )


FOLDS = 8


def left_out_error(build: RuntimeBuild, counted: Sequence[Counted]) -> tuple[float, float]:
    """Mean and median error of the instructions of kernels that a fit to seven eighths of all
    kernels did not see."""
    errors = []
    for fold in range(FOLDS):
        model = fitted(build, [c for i, c in enumerate(counted) if i % FOLDS != fold], {})
        for kernel, counts in counted[fold::FOLDS]:
            predicted = model.counts(kernel)
            if predicted is not None:
                errors.append(abs((predicted[0] + predicted[1]) / counts.instructions - 1))
    return float(np.mean(errors)), float(np.median(errors))
