"""Sketched kernels against those of the plan."""

from __future__ import annotations

import numpy as np
import pytest

from latency_models.executed import sketch
from latency_models.kernels import Kernel, network_kernels
from latency_models.sketch import kernel
from search_space import SPACES, ZOO, NetworkSpec, SpecError
from search_space.plan import Planner, Shape, Writer

AS_PLANNED = "tflite"
"""A runtime that nothing is lowered for: its kernels are those of the plan."""


class Sketching(Planner):
    """Sketches every step."""

    def __init__(self) -> None:
        self.kernels: list[Kernel] = []

    def _step(
        self,
        name: str,
        writer: Writer,
        inputs: tuple[Shape, ...],
        settings: tuple[object, ...],
    ) -> tuple[Shape, ...]:
        rows, outputs = sketch(AS_PLANNED, writer, inputs, settings)
        self.kernels += [kernel(row) for row in rows]
        return outputs


def sketched(spec: NetworkSpec) -> list[Kernel]:
    planner = Sketching()
    spec.write(planner, Shape(spec.image_channels, spec.image_size))
    return planner.kernels


@pytest.mark.parametrize("name", ZOO)
def test_sketched_kernels_are_those_of_the_plan(name: str) -> None:
    assert sketched(ZOO[name]) == list(network_kernels(ZOO[name]))


@pytest.mark.parametrize("name", SPACES)
def test_sketched_kernels_of_random_networks_are_those_of_the_plan(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    compared = 0
    while compared < 40:
        try:
            spec = space.decode(space.sample(rng))
        except SpecError:
            continue
        assert sketched(spec) == list(network_kernels(spec))
        compared += 1
