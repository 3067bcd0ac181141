"""Sketched kernels against those of the plan."""

from __future__ import annotations

import numpy as np
import pytest

from latency_models.executed import executed_kernels
from latency_models.kernels import network_kernels
from search_space import SPACES, ZOO, SpecError

AS_PLANNED = "tflite"
"""A runtime that nothing is lowered for: its kernels are those of the plan."""


@pytest.mark.parametrize("name", ZOO)
def test_sketched_kernels_are_those_of_the_plan(name: str) -> None:
    assert list(executed_kernels(ZOO[name], AS_PLANNED)) == list(network_kernels(ZOO[name]))


@pytest.mark.parametrize("name", SPACES)
def test_sketched_kernels_of_random_networks_are_those_of_the_plan(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    compared = 0
    while compared < 40:
        try:
            spec = space.decode(space.sample(rng))
        except SpecError:
            continue
        assert list(executed_kernels(spec, AS_PLANNED)) == list(network_kernels(spec))
        compared += 1
