"""Searches within the limits of ``plan.SEARCHES`` and keeps what was found.

    python -m benchmarks.cifar.search found-cifar-4ms-a --data npz:cifar10.npz [--minutes 52]

The same command goes on with a search that was interrupted, for as many minutes again. Of a search
the trials, the search card and the most accurate network are kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.cifar.plan import (
    BEGIN_WITH,
    DEVICE,
    KEEP,
    NETWORKS,
    PRECISION,
    RESULTS,
    RUNGS,
    SEARCHES,
    SEED,
    SPACE,
)

MORE_THAN_ANY = "100000"
"""Networks that no search trains in its time."""


def command(name: str, data: str, minutes: int, run: Path) -> list[str]:
    """The search, or what goes on with it."""
    program = [sys.executable, "-m", "search"]
    how = ["--workers", "2", "--timeout", f"{minutes}m"]
    if (run / "run.yaml").is_file():
        return [*program, "resume", str(run), *how]
    limits, rungs = SEARCHES[name], ",".join(map(str, RUNGS))
    what = ["--space", SPACE, "--device", DEVICE, "--latency", f"{limits.latency_ms}ms"]
    what += ["--budget", str(limits.macs)] if limits.macs else []
    what += ["--aim", "accuracy", "--data", data]
    what += ["--rungs", rungs, "--keep", str(KEEP), "--precision", PRECISION]
    what += ["--seed", str(SEED), "--begin-with", BEGIN_WITH]
    return [*program, "run", *what, *how, "--trials", MORE_THAN_ANY, "--out", str(run)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=SEARCHES)
    parser.add_argument("--data", required=True)
    parser.add_argument("--minutes", type=int, default=52, help="default %(default)s")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar-5m"), metavar="DIR")
    args = parser.parse_args()
    run, network = args.out / args.name, NETWORKS / f"{args.name}.yaml"
    if network.is_file() and not run.is_dir():
        parser.error(
            f"{network} is there and {run} is not: a new search needs a name of its own, in"
            " SEARCHES of benchmarks/cifar/plan.py"
        )
    asked = command(args.name, args.data, args.minutes, run)
    ended = subprocess.run(asked, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    if ended.returncode:
        return ended.returncode
    RESULTS.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "trials.csv", RESULTS / f"{args.name}.csv")
    # Paths mean nothing on another machine.
    card = (run / "card.json").read_text(encoding="utf-8")
    for path in (args.data.partition(":")[2], str(run)):
        for written in (str(Path(path).resolve()), path):
            card = card.replace(written, Path(path).name)
    (RESULTS / f"{args.name}.json").write_text(card, encoding="utf-8")
    shutil.copy(run / "best/architecture.yaml", network)
    return 0


if __name__ == "__main__":
    sys.exit(main())
