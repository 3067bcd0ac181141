"""Coefficients fitted to counts that the tests make up."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from latency_models.counting.builds import RuntimeBuild
from latency_models.counting.designed import DESIGN, designed
from latency_models.counting.fitting import LEAST_KERNELS, fitted, left_out_error, observed, solve
from latency_models.counting.model import ANY, COUNTERS
from latency_models.emulator import Counts
from latency_models.kernels import Kernel

Law = Callable[[Kernel], Counts]


def drawn(sort: str, count: int) -> list[Kernel]:
    rng, draw = np.random.default_rng(3), DESIGN[sort][1]
    endless = (draw(rng) for _ in itertools.count())
    return list(itertools.islice((k for k in endless if k is not None), count))


def test_what_is_observed_is_multiply_adds_all_others_and_misses() -> None:
    counts = Counts(**{f.name: 10 + i for i, f in enumerate(fields(Counts))})
    assert counts.fma32 == 14
    others = sum(range(10, 19)) - 14 - 15
    assert observed(counts) == (14 + 15, others, counts.l1_misses, counts.l3_misses)


def test_misses_below_those_of_the_constant_are_none(counts: Callable[..., Counts]) -> None:
    assert observed(counts(load=5, l1_misses=-3, l3_misses=-1)) == (0, 5, 0, 0)


def test_known_coefficients_are_recovered() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([[0.25, 0, 40], [1.5, 3, 900], [0.125, 0, 0], [0, 0.0625, 7]])
    given = 10 ** rng.uniform(3, 6, (30, 3))
    given[:, 2] = 1
    found = solve(given, given @ truth.T)
    assert len(found) == len(COUNTERS)
    # A constant of some tens beside thousands is decided less sharply than what grows.
    np.testing.assert_allclose(np.array(found), truth, rtol=1e-4, atol=1e-6)


def test_no_coefficient_is_negative() -> None:
    given = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 4.0]])
    falling = np.array([[100.0 - 10 * x] * 4 for _, x in given])
    assert np.array(solve(given, falling)).min() == 0


def test_errors_count_by_the_share_of_their_kernel() -> None:
    # One amount: relative errors weigh a kernel of a thousand as one of a million.
    given = np.array([[1e3], [1e6]])
    others = np.array([1e3, 2e6])
    counted = np.stack([np.zeros(2), others, np.zeros(2), np.zeros(2)], axis=1)
    # The least squares of (x - 1) and (x / 2 - 1) is 1.2; their mean is brought to 0.
    assert solve(given, counted)[1][0] == pytest.approx(4 / 3, rel=1e-5)


@pytest.mark.parametrize("sort", ["relu", "concat", "linear", "1x1", "3x3 g4", "max 3x3 s2"])
def test_kernels_that_no_fit_saw_are_predicted_where_counts_follow_the_amounts(
    sort: str, build: RuntimeBuild, law: Law
) -> None:
    kernels = drawn(sort, 60)
    found = fitted(build, [(kernel, law(kernel)) for kernel in kernels[:40]], {"ncnn": "1"})
    assert (found.runtime, found.precision, found.core) == ("ncnn", "fp32", "cortex-a72")
    assert (found.lanes, found.versions) == (4, {"ncnn": "1"})
    for kernel in kernels[40:]:
        counts = found.counts(kernel)
        assert counts is not None
        assert counts == pytest.approx(observed(law(kernel)), rel=1e-3, abs=2)


def test_few_kernels_of_a_routine_are_taken_with_their_like(
    build: RuntimeBuild, law: Law, pointwise: Callable[..., Kernel]
) -> None:
    whole = [pointwise(8 * n, 16) for n in range(1, LEAST_KERNELS + 1)]
    ragged = [pointwise(8 * n, 17) for n in range(1, LEAST_KERNELS)]
    found = fitted(build, [(k, law(k)) for k in (*whole, *ragged)], {}).routines
    assert set(found) == {"pointwise 1x1", "pointwise 1x1 s1", f"pointwise {ANY}"}
    more = [*ragged, pointwise(8 * LEAST_KERNELS, 17)]
    found = fitted(build, [(k, law(k)) for k in (*whole, *more)], {}).routines
    assert "pointwise 1x1 s1 out-ragged" in found


def test_a_kind_with_one_kernel_alone_is_known_by_it(
    build: RuntimeBuild, law: Law, pointwise: Callable[..., Kernel]
) -> None:
    kernel = pointwise(8, 16)
    found = fitted(build, [(kernel, law(kernel))], {})
    assert set(found.routines) == {f"pointwise {ANY}"}
    counts = found.counts(kernel)
    assert counts is not None
    assert counts[:2] == pytest.approx(observed(law(kernel))[:2], rel=1e-4)


def test_kernels_left_out_are_predicted_without_error_where_counts_follow_the_amounts(
    build: RuntimeBuild, law: Law
) -> None:
    kernels = [k for k in designed() if k.kind in ("pointwise", "elementwise", "concat")]
    mean, median = left_out_error(build, [(k, law(k)) for k in kernels])
    assert 0 <= median <= mean < 0.01


def test_kernels_left_out_tell_what_the_amounts_do_not(build: RuntimeBuild, law: Law) -> None:
    kernels = [k for k in designed() if k.kind in ("pointwise", "elementwise", "concat")]
    uneven = [law(k) + (law(k) if i % 3 == 0 else law(k) - law(k)) for i, k in enumerate(kernels)]
    mean, median = left_out_error(build, list(zip(kernels, uneven, strict=True)))
    assert mean > 0.1
    assert median > 0.1
