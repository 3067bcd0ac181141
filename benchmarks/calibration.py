"""How well a board is predicted from a few networks measured there and another board's prices.

::

    python -m benchmarks.calibration --measurements DIR [--out benchmarks/results/calibration.json]

``DIR`` holds ncnn's published benchmark, as for ``python -m latency_models.fit``. For each pair of
boards and some random halves of the networks: the prices of the one are fitted to a half,
calibrated with the first few of that half as measured on the other, and judged there by the rest,
which no fit has seen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from latency_models.calibrate import PRIOR_STRENGTH, calibrated
from latency_models.evaluate import Judged, evaluation, judge
from latency_models.fit import fit
from latency_models.sources import Measurements, ncnn_measurements

FITTED = 11
"""Networks of a half; the others judge."""
CALIBRATING = (1, 2, 3, 4, 5, 8, 10)
COMPARED = (
    *("raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5", "raspberry-pi-zero-2w"),
    *("jetson-nano", "jetson-tx2", "jetson-orin-nano", "rk3399", "rk3588"),
)
"""Boards of single computers; each calibrates from each other one."""
Pair = tuple[Measurements, Measurements, list[str], list[str]]


def halves(boards: Sequence[Measurements], splits: int) -> Iterator[Pair]:
    """Base, board, networks to fit and networks to judge by."""
    rng = np.random.default_rng(0)
    for base in boards:
        for board in boards:
            common = sorted(set(base.names) & set(board.names))
            for _ in range(splits if base.board != board.board else 0):
                mixed = [str(name) for name in rng.permutation(common)]
                yield base, board, mixed[:FITTED], mixed[FITTED:]


def only(board: Measurements, names: Collection[str]) -> dict[str, float]:
    """The times of some networks."""
    return {name: board.measured_ms[name] for name in names}


def measure(
    boards: Sequence[Measurements], splits: int, strength: float
) -> dict[int, dict[str, float]]:
    """The errors by the number of networks that calibrate."""
    judged: dict[int, list[Judged]] = {n: [] for n in CALIBRATING}
    told: dict[int, list[float]] = {n: [] for n in CALIBRATING}
    for base, board, known, rest in halves(boards, splits):
        on = fit(replace(base, measured_ms=only(base, known)))
        for n in CALIBRATING:
            few_ms = only(board, known[:n])
            own = calibrated(on, board.networks, few_ms, board="own", strength=strength)
            judged[n] += judge(board.networks, only(board, rest), own)
            told[n].append(own.error.mean)
    return {
        n: {
            "mean": (found := evaluation(judged[n])).mean,
            "median": found.median,
            "mean_told": float(np.mean(told[n])),
            "covered": found.covered,
        }
        for n in CALIBRATING
    }


def main() -> None:
    """The command; prints one row per number of networks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--measurements", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--splits", type=int, default=10, help="halves for each pair of boards")
    parser.add_argument(
        "--strength", type=float, default=PRIOR_STRENGTH, help="of the base (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="write the table to this file, .json")
    options = parser.parse_args()
    measured = ncnn_measurements(options.measurements)
    boards = [board for board in measured if board.threads == 1 and board.board in COMPARED]
    table = measure(boards, options.splits, options.strength)
    print(f"{'networks':>9}{'mean':>8}{'median':>8}{'told':>8}{'inside':>8}")
    for n, e in table.items():
        print(
            f"{n:>9}{e['mean']:>8.1%}{e['median']:>8.1%}{e['mean_told']:>8.1%}{e['covered']:>8.0%}"
        )
    if options.out:
        options.out.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
