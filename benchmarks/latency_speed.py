"""How many networks a second one core prices on a device.

In a process of their own for each search space, so that nothing is cached when the clock starts:
``cold`` are the first random networks of that process, ``warm`` as many others after them, each
given as a description that was made beforehand.
"""

from __future__ import annotations

import multiprocessing
import time

import numpy as np

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
    written = [spec.to_dict() for spec in _specs(space, 2 * count)]
    specs = [NetworkSpec.from_dict(w) for w in written]
    found = {}
    for name, part in (("cold", specs[:count]), ("warm", specs[count:])):
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
