"""How far predicted latencies are from measured ones, of networks that no fit has seen.

::

    python -m benchmarks.latency --measurements DIR [--counts FILE.csv] [--out FILE.json]
        [--figures DIR]

No shipped device is used: every fit is made here, without the networks that it is judged on.
Errors are relative to the measured time; each figure is taken over the networks of a board, then
averaged over boards.

``ncnn``         one thread of each board, each network left out in turn, judged on eight;
``phones``       the large core of each phone and runtime, each family of networks left out in turn;
``other ...``    boards and cores that no constant of the fits was chosen by, in the same ways;
``nasbench201``  cells on a Raspberry Pi 4: fitted on 100, judged on the others, several draws;
``calibrated``   a board never seen, from another one's fit and three networks measured on it;
``speed``        networks priced per second and core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency_elsewhere import other_boards, other_cores
from benchmarks.latency_runs import (
    Run,
    by_counters,
    by_macs,
    calibrated_run,
    cell_runs,
    left_out,
    nearest,
)
from benchmarks.latency_speed import networks_per_second
from latency_models.evaluate import evaluation
from latency_models.sources import ncnn_measurements, phone_measurements

SCORED = (
    *("mobilenet", "mobilenet_v2", "shufflenet", "squeezenet", "proxylessnasnet"),
    *("efficientnetv2_b0", "googlenet", "resnet18"),
)
"""Networks of ncnn's benchmark that classify images, and are small."""
BY_BOARD = ("ncnn", "phones", "other boards", "other cores")
"""The runs of which the file holds every board's."""


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


# --- The table --------------------------------------------------------------------------------


def measure(directory: Path, counts: Path | None) -> tuple[list[Row], dict[str, list[Run]]]:
    """Every row of the table, and the runs behind those with intervals."""
    boards = [m for m in ncnn_measurements(directory) if m.threads == 1]
    phones = list(phone_measurements(directory))
    runs = {
        "ncnn": [left_out(m) for m in boards],
        "phones": [left_out(m) for m in phones],
        "other boards": [left_out(m) for m in other_boards(directory)],
        "other cores": [left_out(m) for m in other_cores(directory)],
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
        row("ncnn, other boards, eight networks", only(runs["other boards"], SCORED)),
        row("ncnn, other boards, all networks", runs["other boards"]),
        row("phones, other cores", runs["other cores"]),
        row("nasbench201", runs["nasbench201"]),
        row("calibrated, eight networks", only(runs["calibrated"], SCORED)),
        row("calibrated, all networks", runs["calibrated"]),
        row("ncnn and phones, all networks", [*runs["ncnn"], *runs["phones"]]),
    ], runs


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines to print."""
    yield (
        f"{'':36}{'runs':>5}{'networks':>9}{'mean':>8}{'median':>8}{'in 10 %':>9}{'in 20 %':>9}"
        f"{'Spearman':>10}{'covered':>9}"
    )
    for r in rows:
        spearman = "-" if r.spearman is None else f"{r.spearman:.3f}"
        covered = "-" if r.covered is None else f"{r.covered:.0%}"
        yield (
            f"{r.name:36}{r.runs:>5}{r.networks:>9.0f}{r.mean:>8.1%}{r.median:>8.1%}"
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
        told = ", ".join(f"{name} {rate:.0f}" for name, rate in found.items())
        print(f"{space}: networks a second: {told}")
    if options.figures:
        from benchmarks.latency_figure import draw

        draw([*runs["ncnn"], *runs["phones"]], options.figures / "latency.png")
    if options.out:
        boards = {name: by_board(runs[name]) for name in runs if name in BY_BOARD}
        report = {"table": [asdict(r) for r in rows], "boards": boards, "speed": speed}
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
