"""Ways to search the embedded data against each other, in the same time.

    python -m benchmarks.searches [--seconds 180] [--seeds 5] [--out FILE.json]

Every way of ``WAYS`` is one ``search run`` of the same space and budget. The runs of a seed go on
side by side, one thread each, so that what else the machine does slows all of them alike; no
training begins after ``--seconds``. Judged is the hypervolume of what was trained in the last rung
alone, above chance (which every way is told) and left of the slowest network of any run, as a
share of that rectangle.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from results.folder import RunFolder
from results.pareto import hypervolume
from results.trial import Trial, contenders

WAYS: Mapping[str, tuple[str, ...]] = {
    "condense, rungs 1 and 3": ("--searcher", "condense", "--rungs", "1,3"),
    "condense": ("--searcher", "condense"),
    "optuna:nsga2": ("--searcher", "optuna:nsga2"),
}
CHANCE = 0.1
"""The accuracy of a guess: ten digits."""
MORE_THAN_ANY = "100000"
"""Networks that no run trains in its time."""


def run_side_by_side(seed: int, seconds: float, budget: str, folder: Path) -> dict[str, Path]:
    """The folders of one run of each way, all of which have ended well."""
    started = {}
    for number, (name, chosen) in enumerate(WAYS.items()):
        out = folder / f"{seed}-{number}"
        command = [sys.executable, "-m", "search", "run", "--budget", budget, "--seed", str(seed)]
        command += ["--trials", MORE_THAN_ANY, "--timeout", f"{seconds:g}s", "--json", *chosen]
        command += ["--least-accuracy", str(CHANCE)]
        process = subprocess.Popen(
            [*command, "--out", str(out)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        started[name] = (process, out)
    for name, (process, _) in started.items():
        if process.wait():
            raise SystemExit(f"the run of {name} with seed {seed} failed")
    return {name: out for name, (_, out) in started.items()}


def judged(runs: Mapping[str, Sequence[Trial]], slowest_ms: float) -> dict[str, dict[str, float]]:
    """What each way has trained, and the hypervolume of it."""
    found = {}
    for name, trials in runs.items():
        scored = contenders(trials)
        accuracy, cost_ms = np.array([t.objectives for t in scored]).reshape(-1, 2).T
        area = hypervolume(accuracy, cost_ms, (CHANCE, slowest_ms))
        found[name] = {
            "hypervolume": area / ((1 - CHANCE) * slowest_ms),
            "networks": sum(t.score is not None for t in trials),
            "in_last_rung": len(scored),
            "best_accuracy": float(accuracy.max(initial=0.0)),
        }
    return found


def main() -> None:
    """Runs, prints a line per way, and with ``--out`` writes JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", default="150M")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs: list[dict[str, list[Trial]]] = []
    with tempfile.TemporaryDirectory() as name:
        for seed in range(options.seeds):
            folders = run_side_by_side(seed, options.seconds, options.budget, Path(name))
            runs.append({n: RunFolder.open(path).study().trials() for n, path in folders.items()})
            print(f"seed {seed}: done", flush=True)
    every = [t.estimate.latency_ms for by_way in runs for trials in by_way.values() for t in trials]
    report: dict[str, Any] = {"seconds": options.seconds, "budget": options.budget, "ways": {}}
    by_seed = [judged(by_way, max(every)) for by_way in runs]
    for name in WAYS:
        rows = [of_seed[name] for of_seed in by_seed]
        report["ways"][name] = rows
        shares = ", ".join(f"{row['hypervolume']:.3f}" for row in rows)
        networks = statistics.median(row["networks"] for row in rows)
        middle = statistics.median(row["hypervolume"] for row in rows)
        print(f"{name:26}{middle:.3f} ({shares}), {networks:.0f} networks")
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
