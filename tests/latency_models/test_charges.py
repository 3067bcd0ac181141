"""Charges of kernels by what was counted of them, and by their kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from latency_models import Device, charges, device
from latency_models.charges import COUNTED, COUNTED_PRIOR, counted
from latency_models.counting.model import COUNTERS, Counters, amounts
from latency_models.kernels import Kernel, features
from latency_models.predict import DEFAULT_DEVICE, kernel_ms, predict_kernels

GATHER = Kernel(
    kind="gather", in_channels=64, out_channels=32, in_elements=6400, out_elements=3200, parts=8
)
CONCAT = Kernel(
    kind="concat", in_channels=64, out_channels=64, in_elements=6400, out_elements=6400, parts=2
)
PRICES_NS = dict(zip(COUNTED, (0.5, 0.25, 4.0, 100.0), strict=True))


@pytest.fixture(autouse=True)
def gathers_were_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of ncnn in single precision: one instruction per element written, 4 and 2 misses a call."""
    rows = [[0.0] * len(amounts(GATHER, 4)) for _ in COUNTERS]
    rows[1][1], rows[2][-1], rows[3][-1] = 1, 4, 2
    known = Counters(
        runtime="ncnn",
        precision="fp32",
        core="cortex-a72",
        lanes=4,
        versions={},
        routines={"gather any": tuple(map(tuple, rows))},
    )
    found = {("ncnn", "fp32"): known}
    monkeypatch.setattr(charges, "counters", lambda *build: found.get(build))
    counted.cache_clear()
    yield
    counted.cache_clear()


def on(*kinds: str, **changes: object) -> Device:
    base = device(DEFAULT_DEVICE)
    weights = {n: ns for n, ns in base.weights.items() if n not in COUNTED} | PRICES_NS
    given = {"weights": weights, "counted_kinds": dict.fromkeys(kinds, 1.0)} | changes
    return dataclasses.replace(base, **given)


def test_what_is_counted_is_named_after_the_counters() -> None:
    assert [name.removeprefix("ns_per_count.") for name in COUNTED] == list(COUNTERS)
    assert set(COUNTED_PRIOR) == set(COUNTED)
    assert min(COUNTED_PRIOR.values()) > 0


def test_counts_are_amounts_by_the_name_of_their_price() -> None:
    assert counted(GATHER, "ncnn", "fp32") == tuple(zip(COUNTED, (0, 3200, 4, 2), strict=True))


@pytest.mark.parametrize(
    ("kernel", "runtime", "precision"),
    [(CONCAT, "ncnn", "fp32"), (GATHER, "ncnn", "fp16"), (GATHER, "tflite", "fp32")],
)
def test_nothing_is_told_of_what_was_not_counted(
    kernel: Kernel, runtime: str, precision: str
) -> None:
    assert counted(kernel, runtime, precision) == ()


def test_a_counted_kind_is_charged_its_counts_and_any_other_its_features() -> None:
    here = on("gather")
    assert dict(charges.charges(GATHER, here)) == dict(zip(COUNTED, (0, 3200, 4, 2), strict=True))
    assert charges.charges(CONCAT, here) == features(CONCAT)
    assert charges.charges(GATHER, on("concat")) == features(GATHER)


@pytest.mark.parametrize(
    ("kernel", "changes"),
    [
        (GATHER, {"runtime": "tflite"}),
        (GATHER, {"precision": "fp16"}),
        (CONCAT, {}),
    ],
)
def test_a_kind_that_nothing_was_counted_of_is_charged_its_features(
    kernel: Kernel, changes: dict[str, str]
) -> None:
    assert charges.charges(kernel, on("gather", "concat", **changes)) == features(kernel)


def test_an_unknown_operation_is_charged_its_own_price() -> None:
    unknown = dataclasses.replace(GATHER, kind="other", function="CumSum")
    here = on("other", "gather")
    assert charges.charges(unknown, here) == (("ns_per_kernel.CumSum", 1),)
    assert kernel_ms(unknown, here) is None


def test_milliseconds_are_counts_times_prices() -> None:
    expected_ns = 0.25 * 3200 + 4.0 * 4 + 100.0 * 2
    assert kernel_ms(GATHER, on("gather")) == pytest.approx(expected_ns / 1e6)
    concat_ms = kernel_ms(CONCAT, on())
    assert concat_ms is not None
    both = predict_kernels([GATHER, CONCAT], on("gather"))
    assert both.ms == pytest.approx(expected_ns / 1e6 + concat_ms)


def test_a_counted_kind_without_prices_of_counts_is_not_priced() -> None:
    weights = device(DEFAULT_DEVICE).weights
    bare = {name: ns for name, ns in weights.items() if name not in COUNTED}
    assert kernel_ms(GATHER, on("gather", weights=bare)) is None
    assert predict_kernels([GATHER, CONCAT], on("gather", weights=bare)).unpriced == ("gather",)
