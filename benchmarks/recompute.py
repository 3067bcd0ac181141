"""Peak memory and time of a training step, plain and with recomputation.

    python benchmarks/recompute.py sparsenet-bc-1001-k12 --batch 16 --rounds 3 --json results.json

Each measurement is a process of its own, because a process's peak never falls; the two ways take
turns, so that a slow minute of the machine hits both. A step is forward, backward and SGD with
momentum in float32 on the CPU; the time is that of the steps after the first.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from search_space import ZOO

WAYS = ("plain", "recompute")


def peak_mb() -> float:
    """The most memory that this process ever held, in MB of 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def measure(name: str, way: str, batch: int, steps: int, threads: int) -> dict[str, float]:
    """Trains ``name`` in this process for ``steps`` steps after a first one."""
    import torch

    from search_space import build

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    spec = ZOO[name]
    network = build(spec)
    network.recompute = way == "recompute"
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    images = torch.randn(batch, spec.image_channels, spec.image_size, spec.image_size)
    labels = torch.randint(spec.classes, (batch,))
    before_mb = peak_mb()
    seconds = []
    for _ in range(1 + steps):
        start = time.perf_counter()
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        torch.autograd.backward(loss)
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    return {
        "before_mb": before_mb,
        "peak_mb": peak_mb(),
        "step_s": statistics.median(seconds[1:]),
    }


def measured_apart(arguments: argparse.Namespace, way: str) -> dict[str, float]:
    """The same in a process of its own."""
    options = [f"--{o}={getattr(arguments, o)}" for o in ("batch", "steps", "threads")]
    command = [sys.executable, __file__, arguments.network, *options, f"--way={way}"]
    result: dict[str, float] = json.loads(subprocess.check_output(command, text=True))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=ZOO)
    parser.add_argument("--batch", type=int, default=16, help="images per step")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes for each way")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    parser.add_argument("--way", choices=WAYS, help="measure one way in this process, print JSON")
    arguments = parser.parse_args()
    size = arguments.batch, arguments.steps, arguments.threads
    if arguments.way:
        print(json.dumps(measure(arguments.network, arguments.way, *size)))
        return

    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(arguments.rounds):
        for way in WAYS:
            found[way].append(measured_apart(arguments, way))
    medians = {
        way: {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        for way, runs in found.items()
    }
    for way, m in medians.items():
        print(
            f"{way:10} peak {m['peak_mb']:7.0f} MB, of which {m['before_mb']:.0f} before the first"
            f" step; {m['step_s']:.2f} s a step"
        )
    plain, recompute = (medians[way] for way in WAYS)
    ratios = {key: recompute[key] / plain[key] for key in ("peak_mb", "step_s")}
    print(f"ratio      peak {ratios['peak_mb']:.2f}, time {ratios['step_s']:.2f}")
    if arguments.json:
        settings = {k: getattr(arguments, k) for k in ("network", "batch", "steps", "threads")}
        report = {
            **settings,
            "machine": platform.processor() or platform.machine(),
            "medians": medians,
            "ratios": ratios,
            "runs": found,
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
