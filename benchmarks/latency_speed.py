"""How many networks a second one core prices on a device.

In a process of their own for each search space, so that nothing is cached when the clock starts:
``cold`` are the first random networks of that process, ``warm`` as many others after them, and
``neighbours`` a walk from one to the next that differs in one choice, as a search proposes them;
each given as a description that was made beforehand.
"""

from __future__ import annotations

import multiprocessing
import time

import numpy as np

from benchmarks.pricing import neighbours
from latency_models import predict
from search_space import SPACES, NetworkSpec, SpecError


def _specs(space: str, count: int) -> list[NetworkSpec]:
    rng = np.random.default_rng(0)
    found: dict[str, NetworkSpec] = {}
    while len(found) < count:
        try:
            spec = SPACES[space].decode(SPACES[space].sample(rng))
        except SpecError:
            continue
        found.setdefault(spec.id, spec)
    return list(found.values())


def _priced_per_second(space: str, count: int) -> dict[str, float]:
    drawn = _specs(space, 2 * count)
    walk = [SPACES[space].decode(choices) for choices in neighbours(SPACES[space], count, seed=0)]
    parts = {"cold": drawn[:count], "warm": drawn[count:], "neighbours": walk}
    found = {}
    for name, part in parts.items():
        # Anew, so that no description remembers anything.
        part = [NetworkSpec.from_dict(spec.to_dict()) for spec in part]
        start = time.process_time()
        for spec in part:
            predict(spec)
        found[name] = round(count / (time.process_time() - start), 1)
    return found


def networks_per_second(count: int) -> dict[str, dict[str, float]]:
    """By search space: random networks priced per second of one core's time."""
    processes = multiprocessing.get_context("spawn")
    found = {}
    for space in SPACES:
        with processes.Pool(1) as fresh:
            found[space] = fresh.apply(_priced_per_second, (space, count))
    return found
