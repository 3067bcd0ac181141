"""Kernels, counts and an emulator that the tests make up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.counting.builds import RuntimeBuild
from latency_models.counting.designed import DESIGN
from latency_models.counting.model import Coefficients, amounts
from latency_models.emulator import Counts, Emulator
from latency_models.kernels import Kernel

NCNN = RuntimeBuild(runtime="ncnn", precision="fp32", core="cortex-a72", lanes=4)


@pytest.fixture
def build() -> RuntimeBuild:
    return NCNN


@pytest.fixture
def counts() -> Callable[..., Counts]:
    """Counts that are 0 where nothing is told."""

    def made(**told: int) -> Counts:
        return Counts(**{f.name: told.get(f.name, 0) for f in fields(Counts)})

    return made


@pytest.fixture
def pointwise() -> Callable[..., Kernel]:
    """A 1x1 convolution."""

    def made(inputs: int, outputs: int, size: int = 4, groups: int = 1) -> Kernel:
        weights = inputs * outputs // groups
        return Kernel(
            kind="pointwise" if groups == 1 else "grouped_pointwise",
            in_channels=inputs,
            out_channels=outputs,
            in_elements=inputs * size**2,
            out_elements=outputs * size**2,
            macs=weights * size**2,
            weights=weights,
            groups=groups,
        )

    return made


@pytest.fixture(scope="session")
def small() -> dict[str, Kernel]:
    """Of each sort of the design the kernel that computes and moves least."""
    found = {}
    for number, (sort, (count, draw)) in enumerate(DESIGN.items()):
        rng = np.random.default_rng((0, number))
        drawn = [k for k in (draw(rng) for _ in range(5 * count)) if k is not None]
        found[sort] = min(drawn, key=lambda k: k.macs + k.in_elements + k.out_elements)
    return found


@pytest.fixture
def law() -> Callable[[Kernel], Counts]:
    """Counts that grow with some amounts of a kernel, by whole coefficients."""

    def counted(k: Kernel) -> Counts:
        if not k.macs:
            others = 2 * k.in_elements + 3 * k.out_elements + 5 * k.parts + 700
            return Counts(**_zeros() | {"load": others, "l1_misses": k.in_elements})
        return Counts(
            **_zeros()
            | {
                "fma32": round(amounts(k, NCNN.lanes)[0]),
                "load": 2 * k.in_elements + 900,
                "l1_misses": k.weights,
                "l3_misses": k.weights,
            }
        )

    return counted


def _zeros() -> dict[str, int]:
    return {f.name: 0 for f in fields(Counts)}


@pytest.fixture
def coefficients() -> Callable[..., Coefficients]:
    """Those of a routine that counts so much per call, and nothing else."""

    def made(kernel: Kernel, *per_call: float) -> Coefficients:
        # The call is the last amount of what moves, the seventh of what multiplies: both.
        return tuple(
            tuple(each if i == 6 else 0.0 for i in range(len(amounts(kernel, NCNN.lanes))))
            for each in per_call
        )

    return made


class Told(Emulator):
    """An emulator that keeps the jobs and answers with marks."""

    def __post_init__(self) -> None:
        vars(self)["jobs"] = []
        vars(self)["told"] = []

    def run(
        self,
        script: Path,
        *arguments: str | Path,
        core: str = "",
        caches: Any = None,
        folder: Path | None = None,
    ) -> list[tuple[int, Counts]]:
        assert folder is not None
        assert (folder / script).is_file()
        self.told.append((str(script), arguments[0], arguments[2], core))
        self.jobs += json.loads((folder / arguments[1]).read_text(encoding="utf-8"))
        # What was there before, 100 more for the n-th piece of work, and 7 that any work takes.
        marks, at = [], 0
        for number in range(sum(len(job.get("stages", "1")) for job in self.jobs)):
            for step in (1000, 100 * number + 7, 7):
                at += step
                marks.append((len(marks), Counts(**_zeros() | {"load": at})))
        return marks


@pytest.fixture
def emulator(tmp_path: Path) -> Told:
    return Told(tmp_path)
