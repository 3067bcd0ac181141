"""Fits the prices of every device to published measurements and writes the data files.

::

    python -m latency_models.fit --measurements DIR [--out latency_models/data]

``DIR`` holds the tables ``ncnn_ms.csv`` and ``ncnn_layers.csv`` (ncnn's own benchmark),
``mobile_tflite_ms.csv``, ``mobile_torch_ms.csv`` and ``mobile_layers.csv`` (mobile-ml-benchmark).
The same tables give the same bytes.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from latency_models.devices import DATA, Device, FitError
from latency_models.kernels import Kernel, features
from latency_models.layer_table import read_layers, read_rows, read_times, times_of
from latency_models.predict import MEASURED_FROM_NETWORKS
from search_space.errors import UserError

PRIOR_STRENGTH = 0.006
"""Weight of the prior beside the sum of squared relative errors of the networks. Small: it decides
what they leave open. Between 0.004 and 0.008 no device's mean error moves by more than about one
hundredth of the measured time; under 0.006 one price falls to zero."""
ERROR_DIGITS = 4
WEIGHT_DIGITS = 6

# Prices in units of one multiply-add of a 1x1 convolution. Convolutions: the ratios of emulated
# instruction counts on a Cortex-A72, rounded, within ncnn and within onnxruntime (for the other
# runtimes); ncnn computes dense 3x3 by Winograd's algorithm, whose gain groups undo. Elements and
# the weights of linear layers cost more than their instructions, for they come from memory.
_MEMORY_AND_CALLS = {
    "ns_per_mac.linear": 3.0,
    "ns_per_element.computed": 3.0,
    "ns_per_element.moved": 6.0,
    "ns_per_kernel.call": 20_000.0,
}
NCNN_PRIOR = {
    "ns_per_mac.pointwise": 1.0,
    "ns_per_mac.grouped_pointwise": 1.2,
    "ns_per_mac.conv": 0.5,
    "ns_per_mac.grouped_conv": 0.6,
    "ns_per_mac.depthwise": 2.0,
    **_MEMORY_AND_CALLS,
}
OTHER_PRIOR = {
    "ns_per_mac.pointwise": 1.0,
    "ns_per_mac.grouped_pointwise": 1.2,
    "ns_per_mac.conv": 1.1,
    "ns_per_mac.grouped_conv": 1.6,
    "ns_per_mac.depthwise": 5.0,
    **_MEMORY_AND_CALLS,
}

NEAREST = {
    "ns_per_mac.grouped_pointwise": "ns_per_mac.pointwise",
    "ns_per_mac.grouped_conv": "ns_per_mac.conv",
}
"""Convolutions in groups whose price follows another one's, in the ratio of the prior, where fewer
than ``MEASURED_FROM_NETWORKS`` networks hold them: fitted to one network, it would be whatever
makes up for that network's other errors, and a search would exploit it."""

Networks = Mapping[str, Sequence[Kernel]]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and core of ncnn's table; ``device`` and ``core`` select its rows.

    ``ambiguous`` boards have cores of two kinds and did not say which one ran.
    """

    name: str
    device: str
    core: str
    threads: tuple[int, ...] = (1,)
    ambiguous: bool = False


BOARDS = (
    Board(name="raspberry-pi-3", device="Raspberry_Pi_3_", core="Cortex-A53", threads=(1, 4)),
    Board(name="raspberry-pi-4", device="Raspberry_Pi_4_", core="Cortex-A72", threads=(1, 4)),
    Board(
        name="raspberry-pi-5",
        device="Raspberry_Pi_5_Broadcom_BCM2712,",
        core="Cortex-A76",
        threads=(1, 4),
    ),
    Board(
        name="raspberry-pi-zero-2w",
        device="Raspberry_Pi_Zero_2_",
        core="Cortex-A53",
        threads=(1, 4),
    ),
    Board(name="jetson-nano", device="NVIDIA_Jetson_Nano", core="Cortex-A57"),
    Board(
        name="jetson-tx2",
        device="NVIDIA_Jetson_TX2_NX",
        core="Denver2+Cortex-A57",
        ambiguous=True,
    ),
    Board(name="jetson-orin-nano", device="NVIDIA_Jetson_Orin_Nano", core="Cortex-A78AE"),
    Board(name="rk3399", device="Rockchip_RK3399", core="Cortex-A72"),
    Board(name="rk3588", device="Rockchip_RK3588", core="Cortex-A76"),
)
NCNN_SOURCE = "Tencent/ncnn @ a4d2ea1d, benchmark/README.md and benchmark/models"
# Their fully connected layers read 240 and 490 MB of weights; nothing searched here does.
NCNN_LEFT_OUT = ("alexnet", "vgg16")
# From here on (v8.2, ..., v9.2) cores multiply in half precision, and ncnn makes use of it.
FP16_ISA = "v8.2"

PHONE_TABLES = {"tflite": "mobile_tflite_ms.csv", "pytorch": "mobile_torch_ms.csv"}
PHONE_COLUMN = "pixel4.1large.float_ms"
PHONE_SOURCE = "qed-usc/mobile-ml-benchmark @ c864a331"


def is_run(row: Mapping[str, str], board: Board, threads: int) -> bool:
    """Whether a row of ncnn's table is of a board and a number of threads, in float."""
    return (
        f"{row['device']},".startswith(board.device)
        and row["core"] == board.core
        and row["cluster_ambiguous"] == str(int(board.ambiguous))
        and row["threads"] == str(threads)
        and row["is_int8"] == "0"
        and row["gpu_device"] in ("", "-1", "-1.0")
        and row["model"] not in NCNN_LEFT_OUT
    )


# --- Fitting ----------------------------------------------------------------------------------


def solve(
    amounts: Matrix, measured_ms: Matrix, prior: Matrix, strength: float = PRIOR_STRENGTH
) -> Matrix:
    """Non-negative prices that minimise the squared relative error, drawn towards a prior.

    The prior gives the ratios between prices; its scale is fitted. A price that no network
    decides keeps its ratio to the others.

    Args:
        amounts: What each network is charged for, shape ``(networks, prices)``.
        measured_ms: Shape ``(networks,)``.
        prior: Relative prices, all positive, shape ``(prices,)``.
        strength: Weight of the prior.

    Returns:
        Milliseconds per unit, shape ``(prices,)``.
    """
    relative = amounts * prior / measured_ms[:, None]
    by_prior = relative.sum(axis=1)
    scale = by_prior.sum() / (by_prior @ by_prior)
    pull = math.sqrt(strength)
    rows = np.vstack([relative * scale, pull * np.eye(len(prior))])
    target = np.concatenate([np.ones(len(measured_ms)), np.full(len(prior), pull)])
    return np.asarray(nnls(rows, target)[0] * scale * prior)


def leave_one_out(amounts: Matrix, measured_ms: Matrix, prior: Matrix) -> Matrix:
    """Predicted over measured for each network by prices fitted to all others."""
    ratios = []
    for i in range(len(measured_ms)):
        others = np.arange(len(measured_ms)) != i
        prices = solve(amounts[others], measured_ms[others], prior)
        ratios.append(amounts[i] @ prices / measured_ms[i])
    return np.asarray(ratios)


def fit_error(ratios: Matrix) -> FitError:
    """What predicted over measured of networks left out sums up to, shape ``(networks,)``."""
    error = np.abs(ratios - 1)
    residuals = np.sort(np.abs(np.log(ratios)))
    # The rank that holds for a network not among them (split conformal prediction).
    rank = min(math.ceil(0.9 * (len(residuals) + 1)), len(residuals))
    return FitError(
        mean=round(float(error.mean()), ERROR_DIGITS),
        median=round(float(np.median(error)), ERROR_DIGITS),
        within_10_percent=round(float((error <= 0.1).mean()), ERROR_DIGITS),
        within_20_percent=round(float((error <= 0.2).mean()), ERROR_DIGITS),
        log_residual_90=round(float(residuals[rank - 1]), ERROR_DIGITS),
    )


def fit(
    networks: Networks,
    measured_ms: Mapping[str, float],
    *,
    board: str,
    runtime: str,
    threads: int,
    precision: str,
    core: str,
    source: str,
    licence: str,
    note: str,
) -> Device:
    """A device from the milliseconds of some networks whose kernels are known.

    Networks without kernels are left out.

    Raises:
        UserError: fewer than three networks are left.
    """
    names = sorted(name for name in measured_ms if networks.get(name))
    key = f"{board}/{runtime}/{threads}"
    if len(names) < 3:
        raise UserError(f"{key}: {len(names)} networks with layers and a time; at least 3 needed")
    relative_prices = NCNN_PRIOR if runtime == "ncnn" else OTHER_PRIOR
    columns = sorted(relative_prices)
    amounts = np.zeros((len(names), len(columns)))
    for row, name in zip(amounts, names, strict=True):
        for kernel in networks[name]:
            for feature, amount in features(kernel):
                row[columns.index(feature)] += amount
    times = np.array([measured_ms[name] for name in names])
    prior = np.array([relative_prices[column] for column in columns])
    kinds: Counter[str] = Counter(
        kind for name in names for kind in {k.kind for k in networks[name]}
    )
    followers = {
        columns.index(name): columns.index(nearest)
        for name, nearest in NEAREST.items()
        if kinds[name.rpartition(".")[2]] < MEASURED_FROM_NETWORKS
    }
    for i, nearest in followers.items():
        amounts[:, nearest] += amounts[:, i] * prior[i] / prior[nearest]
        amounts[:, i] = 0
    prices_ns = solve(amounts, times, prior) * 1e6
    for i, nearest in followers.items():
        prices_ns[i] = prices_ns[nearest] * prior[i] / prior[nearest]
    macs = [sum(kernel.macs for kernel in networks[name]) for name in names]
    return Device(
        board=board,
        runtime=runtime,
        threads=threads,
        precision=precision,
        core=core,
        source=source,
        licence=licence,
        note=note,
        weights={
            column: round(float(ns), WEIGHT_DIGITS)
            for column, ns in zip(columns, prices_ns, strict=True)
        },
        measured_kinds=dict(sorted(kinds.items())),
        networks=tuple(names),
        macs_range=(min(macs), max(macs)),
        error=fit_error(leave_one_out(amounts, times, prior)),
    )


# --- The devices of the two sources -----------------------------------------------------------


def _ncnn_note(rows: Sequence[Mapping[str, str]], board: Board) -> str:
    notes = [f"{rows[0]['heading']}; least of the timed runs of ncnn's benchmark."]
    if board.ambiguous:
        notes.append("Which kind of core ran is not recorded: Denver2 or Cortex-A57.")
    if rows[0]["isa"] >= FP16_ISA:
        notes.append("ncnn computes float networks in half precision on this core.")
    notes.append(f"Left out for their fully connected layers: {', '.join(NCNN_LEFT_OUT)}.")
    return " ".join(notes)


def fit_ncnn(directory: Path) -> list[Device]:
    """Every board of ``BOARDS`` at every number of threads. Raises UserError."""
    networks = read_layers(directory / "ncnn_layers.csv")
    columns = ("device", "core", "cluster_ambiguous", "threads", "is_int8", "gpu_device", "min_ms")
    table = read_rows(directory / "ncnn_ms.csv", (*columns, "model", "isa", "heading", "run_id"))
    found = []
    for board in BOARDS:
        for threads in board.threads:
            rows = [row for row in table if is_run(row, board, threads)]
            runs = {row["run_id"] for row in rows}
            if len(runs) != 1:
                raise UserError(
                    f"{board.name}: {len(runs)} runs of ncnn_ms.csv match with {threads} threads;"
                    " it must be one"
                )
            found.append(
                fit(
                    networks,
                    # The least of a run's times is what other programs on the board disturb least.
                    times_of(rows, "min_ms"),
                    board=board.name,
                    runtime="ncnn",
                    threads=threads,
                    precision="fp16" if rows[0]["isa"] >= FP16_ISA else "fp32",
                    core=board.core,
                    source=NCNN_SOURCE,
                    licence="BSD-3-Clause",
                    note=_ncnn_note(rows, board),
                )
            )
    return found


def fit_phones(directory: Path) -> list[Device]:
    """The Pixel 4's large core under each of its runtimes. Raises UserError."""
    networks = read_layers(directory / "mobile_layers.csv")
    found = []
    for runtime, table in PHONE_TABLES.items():
        found.append(
            fit(
                networks,
                read_times(directory / table, PHONE_COLUMN),
                board="pixel-4",
                runtime=runtime,
                threads=1,
                precision="fp32",
                core="Kryo 485 Gold Prime (Cortex-A76)",
                source=f"{PHONE_SOURCE}, {PHONE_COLUMN} of {table}",
                licence="MIT",
                note="One large core. The layer tables list no additions and activations, so that"
                " their cost is in that of the layers around them.",
            )
        )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; prints one row per device."""
    parser = argparse.ArgumentParser(prog="python -m latency_models.fit", description=__doc__)
    parser.add_argument("--measurements", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--out", type=Path, default=DATA, help="where the device files go")
    options = parser.parse_args(arguments)
    try:
        found = [*fit_ncnn(options.measurements), *fit_phones(options.measurements)]
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
