"""The designed kernels: what they cover and where their limits are."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from latency_models.counting.designed import DESIGN, ELEMENTS, IMAGE_SIZES, MACS, SIZES, designed
from latency_models.counting.fitting import LEAST_KERNELS
from latency_models.counting.model import routine
from latency_models.executed import executed_kernels
from latency_models.kernels import Kernel, conv_kind
from search_space import SPACES, SpecError
from search_space.gathering import GATHERING

KERNELS = tuple(designed())
BY_SORT = dict(
    zip(
        DESIGN,
        (
            KERNELS[end - count : end]
            for end, (count, _) in zip(
                itertools.accumulate(count for count, _ in DESIGN.values()),
                DESIGN.values(),
                strict=True,
            )
        ),
        strict=True,
    )
)


def test_the_same_seed_draws_the_same_kernels_and_another_seed_others() -> None:
    assert tuple(designed()) == KERNELS
    others = tuple(designed(1))
    assert len(others) == len(KERNELS)
    assert len(set(others) & set(KERNELS)) < len(KERNELS) / 10


def test_a_sort_drawn_more_often_leaves_the_others_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = next(iter(DESIGN))
    count, draw = DESIGN[first]
    monkeypatch.setitem(DESIGN, first, (count + 3, draw))
    assert tuple(designed())[count + 3 :] == KERNELS[count:]


@pytest.mark.parametrize("sort", DESIGN)
def test_every_sort_has_as_many_kernels_as_it_says_within_the_limits(sort: str) -> None:
    assert len(BY_SORT[sort]) == DESIGN[sort][0]
    for kernel in BY_SORT[sort]:
        # Those of two inputs read twice as much as the map; gathers may write a tenth more.
        assert max(kernel.in_elements / 2, kernel.out_elements) <= 1.2 * ELEMENTS[1], kernel
        if kernel.macs and kernel.kind != "linear":
            assert MACS[0] <= kernel.macs <= MACS[1]


def test_convolutions_are_what_their_fields_say() -> None:
    convs = [k for k in KERNELS if k.macs and k.kind != "linear"]
    for k in convs:
        size = round((k.out_elements / k.out_channels) ** 0.5)
        assert k.in_channels % k.groups == k.out_channels % k.groups == 0
        assert k.weights == k.out_channels * k.in_channels // k.groups * k.kernel**2
        assert k.macs == k.weights * size**2
        assert k.kind == conv_kind(
            inputs=k.in_channels,
            outputs=k.out_channels,
            kernel=k.kernel,
            groups=k.groups,
            out_size=size,
        )
    assert {k.kernel for k in convs} == {1, 3, 5, 7}
    ragged = sum(k.in_channels // k.groups % 4 > 0 for k in convs if k.kind == "pointwise")
    assert 0 < ragged < len(convs) / 2


def test_what_is_moved_in_parts_has_parts_of_one_size() -> None:
    for k in KERNELS:
        if k.kind in ("concat", "split", "gather"):
            assert k.out_channels % k.parts == 0, k
        if k.kind == "shuffle":
            assert k.in_channels % k.groups == 0, k


def test_maps_are_square() -> None:
    for k in (k for k in KERNELS if k.kind not in ("linear", "global_pool")):
        size = (k.out_elements / k.out_channels) ** 0.5
        assert size == int(size), k
        if k.stride == 1 and k.kind != "pool":
            assert size in (IMAGE_SIZES if k.in_channels == 3 else SIZES)


@pytest.mark.parametrize("runtime", GATHERING)
def test_every_kind_that_networks_of_the_spaces_execute_is_designed(runtime: str) -> None:
    executed: Counter[str] = Counter()
    for space in SPACES.values():
        rng, drawn = np.random.default_rng(7), 0
        while drawn < 12:
            try:
                spec = space.decode(space.sample(rng))
            except SpecError:
                continue
            drawn += 1
            executed.update(k.kind for k in executed_kernels(spec, runtime))
    assert "gather" in executed
    assert set(executed) <= {k.kind for k in KERNELS}


def test_routines_of_rare_shapes_are_drawn_often_enough_to_be_fitted() -> None:
    found = Counter(routine(k, 4) for k in KERNELS)
    assert found["pointwise 1x1 s1"] > 20
    assert found["gather ragged"] > 20
    assert found["gather"] > 10
    assert found["conv 5x5 s4 image"] >= 6
    assert found["conv 5x5 s4 image wide"] >= 6
    halves = Counter(routine(k, 8) for k in KERNELS)
    for unfilled in ("", " in-halves", " out-halves", " in-halves out-halves"):
        assert halves[f"grouped_conv 3x3 s1 winograd6{unfilled}"] >= LEAST_KERNELS


def test_a_drawn_kernel_is_a_kernel() -> None:
    assert all(isinstance(k, Kernel) and not k.is_unknown for k in KERNELS)
