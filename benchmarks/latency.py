"""How far predicted latencies are from measured ones, of networks that no fit has seen.

::

    python -m benchmarks.latency --measurements DIR [--counts FILE.csv] [--out FILE.json]
        [--figures DIR]

No shipped device is used: every fit is made here, without the networks that it is judged on.
Errors are relative to the measured time; each figure is taken over the networks of a board, then
averaged over boards.

``ncnn``         one thread of each board, each network left out in turn, judged on eight;
``phones``       the large core of each phone and runtime, each family of networks left out in turn;
``nasbench201``  cells on a Raspberry Pi 4: fitted on 100, judged on the others, several draws;
``calibrated``   a board never seen, from another one's fit and three networks measured on it;
``speed``        networks priced per second and core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import nasbench201
from benchmarks.latency_speed import networks_per_second
from latency_models.devices import Device
from latency_models.evaluate import Judged, evaluation, judge
from latency_models.fit import fit, leave_out
from latency_models.kernels import Kernel
from latency_models.layer_table import read_rows
from latency_models.predict import Latency
from latency_models.sources import Measurements, ncnn_measurements, phone_measurements

SCORED = (
    *("mobilenet", "mobilenet_v2", "shufflenet", "squeezenet", "proxylessnasnet"),
    *("efficientnetv2_b0", "googlenet", "resnet18"),
)
"""Networks of ncnn's benchmark that classify images, and are small."""
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


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: means over runs, as fractions; None where it does not apply."""

    name: str
    runs: int
    networks: float
    mean: float
    median: float
    within_10_percent: float
    within_20_percent: float
    spearman: float | None
    covered: float | None


def row(name: str, runs: Sequence[Run], *, intervals: bool = True) -> Row:
    """The means over runs of what their errors sum up to."""
    found = [asdict(evaluation(run.judged)) for run in runs]

    def mean(figure: str) -> float:
        return round(float(np.mean([f[figure] for f in found])), 4)

    return Row(
        name=name,
        runs=len(runs),
        networks=mean("networks"),
        mean=mean("mean"),
        median=mean("median"),
        within_10_percent=mean("within_10_percent"),
        within_20_percent=mean("within_20_percent"),
        spearman=mean("spearman") if all(f["spearman"] for f in found) else None,
        covered=mean("covered") if intervals else None,
    )


def only(runs: Sequence[Run], networks: Sequence[str]) -> list[Run]:
    """The same runs, judged on some of the networks."""
    return [replace(run, judged=[j for j in run.judged if j.network in networks]) for run in runs]


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


# --- The table --------------------------------------------------------------------------------


def measure(directory: Path, counts: Path | None) -> tuple[list[Row], dict[str, list[Run]]]:
    """Every row of the table, and the runs behind those with intervals."""
    boards = [m for m in ncnn_measurements(directory) if m.threads == 1]
    phones = list(phone_measurements(directory))
    runs = {
        "ncnn": [left_out(m) for m in boards],
        "phones": [left_out(m) for m in phones],
        "nasbench201": cell_runs(directory / "nasbench201_raspi4.csv"),
        "calibrated": [calibrated_run(m, nearest(m, boards), seed=0) for m in boards],
    }
    scored = only(runs["ncnn"], SCORED)
    rows = [
        row("ncnn, eight networks", scored),
        row("- multiply-adds alone", only([by_macs(m) for m in boards], SCORED), intervals=False),
    ]
    if counts:
        counted = only([by_counters(m, counts) for m in boards], SCORED)
        rows.append(row("- emulated counters", counted, intervals=False))
    return [
        *rows,
        row("ncnn, all networks", runs["ncnn"]),
        row("phones", runs["phones"]),
        row("- multiply-adds alone", [by_macs(m) for m in phones], intervals=False),
        *[row(f"- {run.device}", [run]) for run in runs["phones"]],
        row("nasbench201", runs["nasbench201"]),
        row("calibrated, eight networks", only(runs["calibrated"], SCORED)),
        row("calibrated, all networks", runs["calibrated"]),
        row("ncnn and phones, all networks", [*runs["ncnn"], *runs["phones"]]),
    ], runs


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines to print."""
    yield (
        f"{'':34}{'runs':>5}{'networks':>9}{'mean':>8}{'median':>8}{'in 10 %':>9}{'in 20 %':>9}"
        f"{'Spearman':>10}{'covered':>9}"
    )
    for r in rows:
        spearman = "-" if r.spearman is None else f"{r.spearman:.3f}"
        covered = "-" if r.covered is None else f"{r.covered:.0%}"
        yield (
            f"{r.name:34}{r.runs:>5}{r.networks:>9.0f}{r.mean:>8.1%}{r.median:>8.1%}"
            f"{r.within_10_percent:>9.0%}{r.within_20_percent:>9.0%}{spearman:>10}{covered:>9}"
        )


def by_board(runs: Sequence[Run]) -> dict[str, Any]:
    """Figures of each run, and each network's error, for the file."""
    return {
        run.device: asdict(evaluation(run.judged))
        | {"errors": {j.network: round(j.error, 4) for j in run.judged}}
        for run in runs
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes JSON and figures where asked to."""
    parser = argparse.ArgumentParser(description="Errors of latencies of networks left out.")
    parser.add_argument("--measurements", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--counts", type=Path, help="table of networks' emulated counters")
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    parser.add_argument("--figures", type=Path, help="folder for latency.png")
    parser.add_argument("--networks", type=int, default=2000, help="priced to time that")
    options = parser.parse_args(arguments)
    rows, runs = measure(options.measurements, options.counts)
    for line in table(rows):
        print(line)
    speed = networks_per_second(options.networks)
    for space, found in speed.items():
        print(f"{space}: {found['cold']:.0f} networks a second, warm {found['warm']:.0f}")
    if options.figures:
        from benchmarks.latency_figure import draw

        draw([*runs["ncnn"], *runs["phones"]], options.figures / "latency.png")
    if options.out:
        boards = {name: by_board(runs[name]) for name in ("ncnn", "phones")}
        report = {"table": [asdict(r) for r in rows], "boards": boards, "speed": speed}
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
