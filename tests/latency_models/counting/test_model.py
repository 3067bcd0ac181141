"""Names of routines, amounts, stand-ins, and the files of counters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from latency_models.counting import model
from latency_models.counting.builds import BUILDS, RuntimeBuild
from latency_models.counting.designed import designed
from latency_models.counting.model import (
    COUNTERS,
    Coefficients,
    Counters,
    amounts,
    counters,
    load_counters,
    routine,
    stand_ins,
    tile,
)
from latency_models.kernels import Kernel
from search_space.errors import UserError

Make = Callable[..., Kernel]
Rows = Callable[..., Coefficients]


@pytest.fixture
def known(pointwise: Make, coefficients: Rows) -> Counters:
    """Some routines that count 1, 2, 3, ... per call."""
    moved, multiplied = moves("concat", parts=2), pointwise(8, 8)
    return Counters(
        runtime="ncnn",
        precision="fp32",
        core="cortex-a72",
        lanes=4,
        versions={"ncnn": "1"},
        routines={
            "pointwise 1x1 s1": coefficients(multiplied, 1, 10, 100, 0.5),
            "pointwise any": coefficients(multiplied, 2, 20, 200, 0),
            "gather any": coefficients(moved, 0, 30, 0, 0),
            "elementwise any": coefficients(moved, 0, 40, 0, 0),
        },
    )


def moves(kind: str, channels: int = 8, **settings: object) -> Kernel:
    elements = channels * 16
    given = {"in_elements": elements, "out_elements": elements} | settings
    return Kernel(kind=kind, in_channels=channels, out_channels=channels, **given)


def conv(inputs: int, outputs: int, size: int = 8, **settings: int) -> Kernel:
    kernel, groups = settings.get("kernel", 3), settings.get("groups", 1)
    weights = inputs * outputs // groups * kernel**2
    return Kernel(
        kind="conv" if groups == 1 else "depthwise" if groups == inputs else "grouped_conv",
        in_channels=inputs,
        out_channels=outputs,
        in_elements=inputs * (size * settings.get("stride", 1)) ** 2,
        out_elements=outputs * size**2,
        macs=weights * size**2,
        weights=weights,
        **{"kernel": 3} | settings,
    )


@pytest.mark.parametrize(
    ("kernel", "lanes", "name"),
    [
        (conv(3, 32), 4, "conv 3x3 s1 image winograd6"),
        (conv(3, 12), 8, "conv 3x3 s1 image halves"),
        (conv(3, 32, kernel=5, stride=4), 8, "conv 5x5 s4 image wide"),
        (conv(16, 16), 4, "conv 3x3 s1 winograd6"),
        (conv(16, 16), 1, "conv 3x3 s1"),
        (conv(4, 4), 4, "conv 3x3 s1"),
        (conv(8, 8), 8, "conv 3x3 s1"),
        (conv(256, 8), 4, "conv 3x3 s1 winograd4"),
        (conv(256, 8), 8, "conv 3x3 s1 winograd2"),
        (conv(8, 8, kernel=5), 4, "conv 5x5 s1"),
        (conv(16, 16, stride=2), 4, "conv 3x3 s2"),
        (conv(20, 8, stride=2), 8, "conv 3x3 s2 wide in-halves"),
        (conv(16, 18), 4, "conv 3x3 s1 winograd6 out-ragged"),
        (conv(64, 64, groups=8), 4, "grouped_conv 3x3 s1 winograd6"),
        (conv(64, 64, groups=32), 4, "grouped_conv 3x3 s1 in-ragged out-ragged"),
        (conv(64, 64, groups=64), 4, "depthwise 3x3 s1"),
        (conv(12, 12, groups=12), 8, "depthwise 3x3 s1 halves"),
        (conv(10, 10, groups=10), 8, "depthwise 3x3 s1 ragged"),
        (conv(10, 10, groups=10), 1, "depthwise 3x3 s1"),
        (moves("elementwise", function="norm"), 4, "elementwise norm"),
        (moves("elementwise"), 4, "elementwise relu"),
        (moves("elementwise", 6, function="swish"), 4, "elementwise swish ragged"),
        (moves("binary", in_elements=256), 4, "binary add"),
        (moves("binary", in_elements=136), 4, "binary scale"),
        (moves("binary", in_elements=384), 4, "binary add"),
        (moves("concat", parts=2), 4, "concat"),
        (moves("concat", parts=4), 4, "concat ragged"),
        (moves("split", parts=2), 8, "split halves"),
        (moves("gather", parts=2), 4, "gather"),
        (moves("gather", parts=8), 4, "gather ragged"),
        (moves("shuffle", groups=2), 4, "shuffle"),
        (moves("shuffle", groups=4), 4, "shuffle ragged"),
        (moves("pool", kernel=2, stride=2, function="avg"), 4, "pool avg 2x2 s2"),
        (moves("pool", kernel=3, function="max"), 4, "pool max 3x3 s1"),
        (moves("global_pool"), 4, "global_pool"),
        (moves("index_add"), 4, "index_add"),
    ],
)
def test_a_routine_is_named_after_what_tells_it_apart(
    kernel: Kernel, lanes: int, name: str
) -> None:
    assert routine(kernel, lanes) == name


def test_the_nearest_routine_stands_in_first() -> None:
    assert stand_ins("conv 3x3 s1 wide ragged") == [
        "conv 3x3 s1 wide ragged",
        "conv 3x3 s1 wide",
        "conv 3x3 s1",
        "conv 3x3",
        "conv",
        "conv any",
    ]
    assert stand_ins("index_add")[-1] == "gather any"
    assert stand_ins("other")[-1] == "elementwise any"


def test_a_routine_whose_name_is_one_word_is_asked_for_before_all_of_its_kind(
    coefficients: Rows, known: Counters
) -> None:
    whole = moves("gather", parts=2)
    exact = {"gather": coefficients(whole, 0, 31, 0, 0)}
    both = dataclasses.replace(known, routines={**known.routines, **exact})
    assert routine(whole, 4) == "gather"
    assert both.counts(whole) == (0, 31, 0, 0)


def test_a_routine_never_measured_falls_back(known: Counters, pointwise: Make) -> None:
    assert known.counts(pointwise(8, 8)) == (1, 10, 100, 0.5)
    assert known.counts(pointwise(8, 7)) == (1, 10, 100, 0.5)
    stride = dataclasses.replace(pointwise(8, 8), stride=2)
    assert known.counts(stride) == (2, 20, 200, 0)


def test_what_is_never_lowered_is_counted_as_its_like(known: Counters) -> None:
    # Seven amounts each: what moves is counted per call by the last of them.
    assert known.counts(moves("index_add")) == (0, 30, 0, 0)
    assert known.counts(moves("other", function="softmax")) == (0, 40, 0, 0)


def test_a_kind_of_which_nothing_was_measured_has_no_counts(known: Counters) -> None:
    assert known.counts(moves("shuffle", groups=2)) is None
    assert known.counts(conv(8, 8)) is None


@pytest.mark.parametrize(
    ("kernel", "lanes"), [(conv(16, 32, size=7, stride=2), 4), (conv(16, 32, size=7), 1)]
)
def test_amounts_of_a_convolution_are_those_of_its_windows(kernel: Kernel, lanes: int) -> None:
    weights, blocks = 16 * 32 * 9, 4  # of 16 of the 49 positions
    assert amounts(kernel, lanes) == (
        *(weights * 49, 16 * 9 * 49, kernel.in_elements, 32 * 49, weights, 1, 1),
        *(16, 32, blocks * weights),
    )


@pytest.mark.parametrize(
    ("inputs", "side", "tiles"), [(16, 6, 4), (256, 4, 4), (256, 2, 16)], ids=["6", "4", "2"]
)
def test_amounts_of_winograd_are_those_of_its_tiles(inputs: int, side: int, tiles: int) -> None:
    kernel = conv(inputs, 8, size=7)
    lanes = 8 if side == 2 else 4
    found = amounts(kernel, lanes)
    products = (side + 2) ** 2 * inputs * 8  # of one tile, on a map of 7 x 7
    assert tile(kernel, lanes) == side
    assert found[0] == pytest.approx(tiles * products)
    assert found[1:7] == (inputs * 9 * 49, inputs * 49, 8 * 49, inputs * 8 * 9, 1, 1)
    assert found[7:] == pytest.approx((tiles * inputs, tiles * 8, products))


@pytest.mark.parametrize(
    "kernel", [conv(16, 16, stride=2), conv(16, 16, kernel=5), conv(32, 32, groups=32)]
)
def test_what_winograd_cannot_compute_has_no_tiles(kernel: Kernel) -> None:
    assert tile(kernel, 4) == 0


def test_amounts_of_what_moves_are_elements_windows_channels_and_parts() -> None:
    pool = Kernel(
        kind="pool",
        in_channels=8,
        out_channels=8,
        in_elements=512,
        out_elements=128,
        kernel=3,
        stride=2,
    )
    assert amounts(pool, 4) == (512, 128, 9 * 128, 8, 8, 1, 1)
    assert amounts(moves("concat", parts=4), 4) == (128, 128, 0, 8, 8, 4, 1)


def test_counters_are_linear_in_the_amounts(known: Counters, pointwise: Make) -> None:
    kernel = pointwise(8, 8)
    ones = tuple((float(n),) * len(amounts(kernel, 4)) for n in range(len(COUNTERS)))
    summing = dataclasses.replace(known, routines={"pointwise any": ones})
    assert summing.counts(kernel) == tuple(n * sum(amounts(kernel, 4)) for n in range(4))


def test_a_file_is_read_as_it_was_written(known: Counters, tmp_path: Path) -> None:
    path = tmp_path / "counters.yaml"
    path.write_text(known.to_yaml(), encoding="utf-8")
    found = load_counters(path)
    assert dataclasses.asdict(found) == dataclasses.asdict(known)
    assert found.to_yaml() == known.to_yaml()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("routines:", "routine:"),
        ("lanes: 4\n", ""),
        ("lanes: 4", "lanes: 4\nlane: 4"),
        ("    l3_misses: ", "    l4_misses: "),
        ("others: 0", "others: none"),
        ("runtime: ", "runtime: ["),
    ],
)
def test_a_broken_file_is_told_in_a_sentence(
    known: Counters, tmp_path: Path, old: str, new: str
) -> None:
    path, text = tmp_path / "counters.yaml", known.to_yaml()
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"(?s)^counters .*: cannot be read: .*; install the package anew$"
    ):
        load_counters(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_counters(tmp_path / "none.yaml")


@pytest.fixture
def empty_cache() -> Iterator[None]:
    counters.cache_clear()
    yield
    counters.cache_clear()


@pytest.mark.usefixtures("empty_cache")
def test_counters_are_those_of_the_build_with_the_runtime_and_precision(
    known: Counters, build: RuntimeBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class There(RuntimeBuild):
        model = tmp_path / "counters.yaml"

    monkeypatch.setattr(model, "BUILDS", (There(**dataclasses.asdict(build)),))
    There.model.write_text(known.to_yaml(), encoding="utf-8")
    found = counters("ncnn", "fp32")
    assert found is not None
    assert found.versions == {"ncnn": "1"}
    assert counters("ncnn", "fp32") is found
    assert counters("ncnn", "fp16") is None
    assert counters("tflite", "fp32") is None


@pytest.mark.parametrize("build", [b for b in BUILDS if b.model.is_file()], ids=lambda b: b.name)
def test_shipped_counters_know_every_kernel_of_the_design(build: RuntimeBuild) -> None:
    shipped = load_counters(build.model)
    assert (shipped.runtime, shipped.precision) == (build.runtime, build.precision)
    assert (shipped.core, shipped.lanes) == (build.core, build.lanes)
    for kernel in designed():
        counts = shipped.counts(kernel)
        assert counts is not None, kernel
        assert min(counts) >= 0
        assert counts[0] + counts[1] > 0, kernel
        assert kernel.macs or counts[0] <= 3 * kernel.out_elements
