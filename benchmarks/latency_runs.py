"""The fits of the latency benchmark, each without the networks that it is judged on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import nasbench201
from latency_models.devices import Device
from latency_models.evaluate import Judged, judge
from latency_models.fit import fit, leave_out
from latency_models.kernels import Kernel
from latency_models.layer_table import read_rows
from latency_models.predict import Latency
from latency_models.sources import Measurements

CELLS_FITTED = 100
CELLS_DRAWS = 5
CALIBRATED_WITH = 3
CALIBRATION_DRAWS = 20
COUNTERS = ("multiply-adds", "other instructions", "L1 misses", "L3 misses")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The networks left out of the fits of one board, or of one draw."""

    device: str
    judged: Sequence[Judged]


# --- Leaving out ------------------------------------------------------------------------------


def fits_without(measured: Measurements) -> Iterator[tuple[Device, list[str]]]:
    """For each family a device fitted to all others, its interval included, and the family."""
    for names in measured.families().values():
        yield fit(measured.without(names)), names


def left_out(measured: Measurements) -> Run:
    """Every network predicted by a device fitted without its family."""
    judged: list[Judged] = []
    for device, names in fits_without(measured):
        judged += judge(measured.networks, {n: measured.measured_ms[n] for n in names}, device)
    return Run(device=measured.key, judged=judged)


def left_out_by(
    measured: Measurements, amounts: Mapping[str, Sequence[float]], prior: Sequence[float]
) -> Run:
    """The same by other amounts than kernels are charged for, without intervals."""
    names = [name for name in measured.names if name in amounts]
    times = np.array([measured.measured_ms[name] for name in names])
    ratios = leave_out(
        np.array([amounts[name] for name in names], dtype=float),
        times,
        np.array(prior),
        [measured.family(name) for name in names],
    )
    judged = [
        Judged(
            network=name,
            predicted=Latency(ms=ms, low_ms=ms, high_ms=ms, unpriced=(), extrapolated=()),
            measured_ms=measured.measured_ms[name],
        )
        for name, ms in zip(names, ratios * times, strict=True)
    ]
    return Run(device=measured.key, judged=judged)


def by_macs(measured: Measurements) -> Run:
    """One price for all multiply-adds: what a search by multiply-adds believes."""
    macs = {name: [sum(k.macs for k in measured.networks[name])] for name in measured.names}
    return left_out_by(measured, macs, [1.0])


def counters(path: Path, cpu: str) -> dict[str, list[float]]:
    """What an emulated core counts for whole networks, in the order of ``COUNTERS``."""
    columns = ("cpu", "model", "insn", "vfma32", "vfma16", "m1", "m3")
    found = {}
    for line in read_rows(path, columns):
        if line["cpu"] == cpu:
            fma = float(line["vfma32"]) + float(line["vfma16"])
            others = float(line["insn"]) - fma
            found[line["model"]] = [fma, others, float(line["m1"]), float(line["m3"])]
    return found


COUNTER_PRIOR = (1.0, 1.0, 10.0, 100.0)
"""Instructions one a cycle each; a miss waits for the second cache, or for memory."""


def by_counters(measured: Measurements, path: Path) -> Run:
    """Four prices, for what an emulated core of the same instruction set counts."""
    cpu = "cortex-a76" if measured.precision == "fp16" else "cortex-a72"
    return left_out_by(measured, counters(path, cpu), COUNTER_PRIOR)


# --- Cells ------------------------------------------------------------------------------------


def cell_runs(path: Path) -> list[Run]:
    """Fits on 100 cells each, judged on the rest.

    Networks whose result is a constant are left out: there is nothing to execute.
    """
    times = {r["arch_str"]: float(r["raspi4_ms"]) for r in read_rows(path, ("arch_str",))}
    networks = {arch: nasbench201.network(arch) for arch in times}
    times = {arch: ms for arch, ms in times.items() if networks[arch]}
    runs = []
    for seed in range(CELLS_DRAWS):
        rng = np.random.default_rng(seed)
        fitted = set(rng.choice(sorted(times), CELLS_FITTED, replace=False).tolist())
        measured = Measurements(
            board="raspberry-pi-4",
            runtime="tflite",
            threads=1,
            precision="fp32",
            core="Cortex-A72",
            source="HayeonLee/HELP @ 45f70eb9",
            licence="MIT",
            note="NAS-Bench-201",
            networks=networks,
            measured_ms={arch: times[arch] for arch in fitted},
        )
        rest = {arch: ms for arch, ms in times.items() if arch not in fitted}
        runs.append(Run(device=f"draw {seed}", judged=judge(networks, rest, fit(measured))))
    return runs


# --- Calibration ------------------------------------------------------------------------------


def nearest(board: Measurements, others: Sequence[Measurements]) -> Measurements:
    """Another board, with the same core if there is one, else of the same precision."""
    candidates = [o for o in others if o.board != board.board and o.precision == board.precision]
    return next((o for o in candidates if o.core == board.core), candidates[0])


def scaled(
    base: Device, networks: Mapping[str, Sequence[Kernel]], ms: Mapping[str, float]
) -> Device:
    """The base with all prices times one factor, the geometric mean of measured over predicted."""
    ratios = [j.measured_ms / j.predicted.ms for j in judge(networks, ms, base)]
    factor = float(np.exp(np.mean(np.log(ratios))))
    return replace(base, weights={name: ns * factor for name, ns in base.weights.items()})


def calibrated_run(board: Measurements, base: Measurements, seed: int) -> Run:
    """Each network of the board, by the base's fit without it and three others measured here."""
    rng = np.random.default_rng(seed)
    judged: list[Judged] = []
    for device, names in fits_without(base):
        here = [name for name in names if name in board.names]
        others = [name for name in board.names if name not in names]
        for _ in range(CALIBRATION_DRAWS if here else 0):
            chosen = rng.choice(others, CALIBRATED_WITH, replace=False).tolist()
            times = {name: board.measured_ms[name] for name in chosen}
            on = scaled(device, board.networks, times)
            judged += judge(board.networks, {n: board.measured_ms[n] for n in here}, on)
    return Run(device=f"{board.key} from {base.key}", judged=judged)
