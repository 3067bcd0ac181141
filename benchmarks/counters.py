"""Predicted counters of kernels against the emulator, on whole networks that nothing was fitted to.

    python -m benchmarks.counters --arm DIR [--networks 8] [--out FILE.json]

DIR as ``scripts/setup_arm`` makes it. Random condensed networks of the search spaces are exported
with random weights as ``search export`` would, and one image is counted under emulation; the sum
over their kernels is predicted from shapes alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from latency_models.charges import counted
from latency_models.counting.builds import BUILDS
from latency_models.counting.fitting import observed
from latency_models.counting.model import COUNTERS
from latency_models.emulator import Emulator
from latency_models.executed import executed_kernels
from search.emulating import whole_network
from search_space import SPACES, NetworkSpec, SpecError, macs

USUAL_SPACES = ["cifar-32", "imagenet-224-fast"]
MOST_MACS = 150_000_000
"""Emulation executes some ten million multiply-adds a second."""


def drawn(space_name: str, count: int, seed: int) -> Iterator[NetworkSpec]:
    """Different random networks of a space that are not too large."""
    space, rng = SPACES[space_name], np.random.default_rng(seed)
    seen: set[str] = set()
    while len(seen) < count:
        try:
            spec = space.decode(space.sample(rng))
        except SpecError:
            continue
        if spec.id not in seen and macs(spec) <= MOST_MACS:
            seen.add(spec.id)
            yield spec


def main() -> None:
    """The command; prints a line per network and the errors of each build."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arm", type=Path, required=True)
    parser.add_argument("--networks", type=int, default=8, help="of each space")
    parser.add_argument(
        "--spaces", nargs="+", choices=SPACES, default=["cifar-32", "imagenet-224-fast"]
    )
    parser.add_argument("--builds", nargs="+", choices=[b.name for b in BUILDS])
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    emulator, table = Emulator(options.arm), {}
    for build in BUILDS:
        if options.builds and build.name not in options.builds:
            continue
        errors = []
        for space in options.spaces:
            for spec in drawn(space, options.networks, options.seed):
                found = observed(whole_network(spec, build, emulator))
                charges = [
                    counted(k, build.runtime, build.precision)
                    for k in executed_kernels(spec, build.runtime)
                ]
                sums = np.sum([[amount for _, amount in c] for c in charges if c], axis=0)
                unknown = sum(not c for c in charges)
                instructions = found[0] + found[1]
                row = [float((sums[0] + sums[1]) / instructions - 1)]
                row += [float(s / f - 1) for s, f in zip(sums, found, strict=True)]
                errors.append(row)
                print(
                    f"{build.name:18}{space:20}{macs(spec) / 1e6:7.1f} M MACs"
                    f"{instructions / 1e6:8.1f} M instructions {row[0]:+7.1%}, unknown {unknown}",
                    flush=True,
                )
        size = np.abs(errors)
        table[build.name] = {
            "networks": len(errors),
            **{
                name: {"mean": float(size[:, i].mean()), "median": float(np.median(size[:, i]))}
                for i, name in enumerate(("instructions", *COUNTERS))
            },
        }
        print(json.dumps({build.name: table[build.name]}))
    if options.out:
        options.out.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
