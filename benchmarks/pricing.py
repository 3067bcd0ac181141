"""How many networks a second one core prices, beside fvcore on one built network.

Random networks of each search space, each drawn once. Three ways of pricing are timed, in
processor time of one thread and in a process of their own each, so that nothing is cached when
the clock starts:

``decode_and_cost``  choices to a network to all its costs, what a search does;
``cost``             the same with the networks' descriptions at hand as plain data;
``macs``             choices to multiply-adds alone, what a budget tests.

    python benchmarks/pricing.py --networks 5000 --out pricing.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from search_space import SPACES, ZOO, NetworkSpec, SpecError, build, cost, macs
from search_space.space import Choices, SearchSpace

FVCORE_NETWORK = {
    "imagenet-224": "condensenetv2-a",
    "imagenet-224-fast": "condensenetv2-a",
    "cifar-32": "condensenet-86",
}


def distinct(space: SearchSpace, count: int, seed: int) -> list[Choices]:
    """Random choices that make ``count`` different networks."""
    rng = np.random.default_rng(seed)
    found: dict[str, Choices] = {}
    while len(found) < count:
        choices = space.sample(rng)
        try:
            found.setdefault(space.decode(choices).id, choices)
        except SpecError:
            continue
    return list(found.values())


def decode_and_cost(space: SearchSpace, choices: Choices) -> None:
    cost(space.decode(choices))


def neighbours(space: SearchSpace, count: int, seed: int) -> list[Choices]:
    """A walk: each network differs from the one before in one choice, as a search proposes them."""
    rng = np.random.default_rng(seed)
    current = distinct(space, 1, seed)[0]
    found: list[Choices] = []
    while len(found) < count:
        d = space.dimensions[rng.integers(len(space.dimensions))]
        changed = current | {d.name: d.choices[rng.integers(len(d.choices))]}
        try:
            space.decode(changed)
        except SpecError:
            continue
        current = changed
        found.append(current)
    return found


def decode_and_macs(space: SearchSpace, choices: Choices) -> None:
    macs(space.decode(choices))


def fresh_cost(space: SearchSpace, written: dict[str, Any]) -> None:
    cost(NetworkSpec.from_dict(written))


WAYS: dict[str, Callable[[SearchSpace, Any], None]] = {
    "decode_and_cost": decode_and_cost,
    "cost": fresh_cost,
    "macs": decode_and_macs,
    "neighbours": decode_and_cost,
}


def seconds_each(space_name: str, way: str, inputs: list[Any]) -> float:
    """Processor seconds per network."""
    price, space = WAYS[way], SPACES[space_name]
    start = time.process_time()
    for given in inputs:
        price(space, given)
    return (time.process_time() - start) / len(inputs)


def fvcore_seconds(name: str) -> float:
    """Processor seconds to build one network and count it with fvcore; the best of three."""
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis
    spec = ZOO[name]
    image = torch.zeros(1, spec.image_channels, spec.image_size, spec.image_size)
    best = float("inf")
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.process_time()
            analysis = FlopCountAnalysis(build(spec, "condensed").eval(), image)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
            best = min(best, time.process_time() - start)
    return best


def measure(count: int, seed: int) -> dict[str, Any]:
    """Every figure, by space and way."""
    os.environ["OMP_NUM_THREADS"] = "1"
    report: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "networks": count,
        "seed": seed,
    }
    processes = multiprocessing.get_context("spawn")
    for space_name, space in SPACES.items():
        choices = distinct(space, count, seed)
        inputs_of: dict[str, list[Any]] = {
            "cost": [space.decode(c).to_dict() for c in choices],
            "neighbours": neighbours(space, count, seed),
        }
        rows: dict[str, Any] = {}
        for way in WAYS:
            with processes.Pool(1) as cold:
                inputs = inputs_of.get(way, choices)
                each = cold.apply(seconds_each, (space_name, way, inputs))
            rows[way] = {"microseconds": each * 1e6, "per_second": 1 / each}
        name = FVCORE_NETWORK[space_name]
        with processes.Pool(1) as cold:
            fvcore = cold.apply(fvcore_seconds, (name,))
        rows["fvcore"] = {
            "network": name,
            "microseconds": fvcore * 1e6,
            "times_decode_and_cost": fvcore * 1e6 / rows["decode_and_cost"]["microseconds"],
        }
        report[space_name] = rows
    return report


def main() -> None:
    """Measures, prints, and with ``--out`` writes JSON."""
    parser = argparse.ArgumentParser(description="Networks priced per second, on one core.")
    parser.add_argument("--networks", type=int, default=3000, help="of each space")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    arguments = parser.parse_args()
    report = measure(arguments.networks, arguments.seed)
    for space_name in SPACES:
        rows = report[space_name]
        print(f"{space_name}, {arguments.networks} networks:")
        for way in WAYS:
            row = rows[way]
            print(f"  {way:16} {row['microseconds']:9.1f} us  {row['per_second']:9.0f} a second")
        row = rows["fvcore"]
        print(
            f"  {'fvcore':16} {row['microseconds']:9.0f} us on {row['network']},"
            f" {row['times_decode_and_cost']:.0f} times decode_and_cost"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
