"""Fits to measurements that the tests make up."""

import csv
import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from latency_models import DEVICES, Device, device, load_device
from latency_models.charges import COUNTED, counted
from latency_models.fit import (
    ANCHORS,
    LARGE_ERROR,
    LEAST_OF_PRIOR,
    NEAREST,
    TRANSFERRED,
    fit,
    leave_out,
    main,
    solve,
)
from latency_models.kernels import KINDS as KERNEL_KINDS
from latency_models.kernels import Kernel, features
from latency_models.layer_table import read_layers
from latency_models.predict import MEASURED_FROM_NETWORKS, kernel_ms, predict_kernels
from latency_models.priors import NCNN, prior
from latency_models.sources import BOARDS, PHONE_COLUMN, PHONES, Measurements
from search_space.errors import UserError

PRICES = {
    "ns_per_mac.pointwise": 0.2,
    "ns_per_mac.conv": 0.3,
    "ns_per_mac.depthwise": 0.9,
    "ns_per_mac.linear": 0.5,
    "ns_per_weight.read": 0.8,
    "ns_per_element.computed": 0.7,
    "ns_per_element.patches": 0.1,
    "ns_per_element.moved": 1.5,
    "ns_per_kernel.call": 5000.0,
}
KINDS = ("pointwise", "conv", "depthwise", "linear", "concat")


def made_up_networks(count: int, seed: int = 0) -> dict[str, list[Kernel]]:
    """Random lists of kernels: what matters is only that their kinds do not grow together."""
    rng = random.Random(seed)

    def kernel(kind: str) -> Kernel:
        return Kernel(
            kind=kind,
            in_channels=1,
            out_channels=64,
            in_elements=rng.randint(1, 10**6),
            out_elements=rng.randint(1, 10**6),
            macs=0 if kind == "concat" else rng.randint(1, 10**7),
        )

    return {
        f"net{i}": [kernel(kind) for kind in KINDS for _ in range(rng.randint(1, 8))]
        for i in range(count)
    }


def price_ms(kernels: list[Kernel]) -> float:
    return sum(PRICES[name] * n for kernel in kernels for name, n in features(kernel)) / 1e6


def fitted(networks: dict[str, list[Kernel]], times: dict[str, float], **changes: object) -> Device:
    known: dict[str, object] = {
        "board": "b",
        "runtime": "ncnn",
        "threads": 1,
        "precision": "fp32",
        "core": "c",
        "source": "s @ 1",
        "licence": "l",
        "note": "n",
    }
    return fit(Measurements(networks=networks, measured_ms=times, **known | changes))


def test_known_prices_are_recovered_from_exact_times() -> None:
    networks = made_up_networks(400)
    found = fitted(networks, {name: price_ms(kernels) for name, kernels in networks.items()})
    for name in ("ns_per_mac.pointwise", "ns_per_mac.conv", "ns_per_element.moved"):
        assert found.weights[name] == pytest.approx(PRICES[name], rel=0.1), name
    assert found.error.mean < 0.01
    assert found.error.within_10_percent == 1
    assert found.measured_kinds == dict.fromkeys(sorted(KINDS), 400)


def test_a_price_that_nothing_decides_keeps_its_prior_ratio() -> None:
    networks = made_up_networks(50)
    times = {
        name: 3e-7 * sum(NCNN[f] * n for k in kernels for f, n in features(k))
        for name, kernels in networks.items()
    }
    weights = fitted(networks, times).weights
    ratio = weights["ns_per_mac.grouped_conv"] / weights["ns_per_mac.pointwise"]
    assert ratio == pytest.approx(NCNN["ns_per_mac.grouped_conv"], rel=1e-4)


def test_no_price_falls_far_below_the_prior() -> None:
    # The second network does more and takes less: least squares would pay for the second column.
    amounts = np.array([[1.0, 0.0], [1.0, 50.0], [2.0, 0.0]])
    prices = solve(amounts, np.array([1.0, 0.5, 2.0]), np.array([1.0, 0.01]))
    assert prices[1] == pytest.approx(LEAST_OF_PRIOR * 0.01 * prices[0], rel=0.5)
    assert (prices > 0).all()


def test_one_strange_network_does_not_bend_the_prices() -> None:
    amounts = np.array([[float(i)] for i in range(1, 12)])
    times = amounts[:, 0].copy()
    times[-1] *= 3
    assert solve(amounts, times, np.ones(1))[0] == pytest.approx(1.0, abs=LARGE_ERROR / 5)


def test_a_family_is_left_out_together() -> None:
    amounts = np.ones((4, 1))
    times = np.array([1.0, 1.0, 2.0, 2.0])
    families = ["a", "a", "b", "b"]
    assert leave_out(amounts, times, np.ones(1), families) == pytest.approx([2.0, 2.0, 0.5, 0.5])
    alone = leave_out(amounts, times, np.ones(1), list("abcd"))
    assert np.abs(np.log(alone)).max() < np.log(2.0)


def test_relatives_make_the_error_of_a_fit_larger() -> None:
    # Times of two families differ by a factor that nothing in the kernels tells.
    networks = made_up_networks(12)
    times = {
        name: price_ms(kernels) * (1.5 if i % 2 else 1.0)
        for i, (name, kernels) in enumerate(networks.items())
    }
    related = fitted(networks, times, family=lambda name: str(int(name[3:]) % 2))
    assert related.error.mean > fitted(networks, times).error.mean
    with pytest.raises(UserError, match="all networks are of one family"):
        fitted(networks, times, family=lambda name: "one")


def test_networks_without_layers_are_left_out_and_too_few_are_refused() -> None:
    networks = made_up_networks(3)
    times = {name: price_ms(kernels) for name, kernels in networks.items()}
    assert fitted(networks, times | {"unknown": 1.0}).networks == ("net0", "net1", "net2")
    with pytest.raises(UserError, match=r"b/ncnn/1: 2 networks .* at least 3"):
        fitted(networks, {"net0": 1.0, "net1": 2.0})


# --- The command on tables written here -------------------------------------------------------

LAYER_COLUMNS = "model op cin hin cout hout {} stride groups macs params in_elems out_elems"


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def layer(model: str, op: str, width: int, window: str) -> dict[str, object]:
    side, groups = (3, width) if op == "dwconv" else (1, 1)
    maps = width * 14 * 14
    weights = width * (width // groups) * side**2
    computes = op != "concat"
    values = (model, op, width, 14, width, 14, side if computes else "", 1)
    values += (groups, weights * 196 * computes, weights * computes, maps, maps)
    return dict(zip(LAYER_COLUMNS.format(window).split(), values, strict=True))


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """The five tables with four networks that take 1 ns per multiply-add on every device."""
    models = {f"net{width}": width for width in (8, 16, 32, 64)}
    for table, window in (("ncnn_layers.csv", "kh"), ("mobile_layers.csv", "k")):
        ops = ("pwconv", "dwconv", "concat")
        write(tmp_path / table, [layer(m, op, w, window) for m, w in models.items() for op in ops])
    runs = [(board, threads) for board in BOARDS for threads in board.threads]
    columns = [PHONE_COLUMN.format(column) for _, column, _, _ in PHONES]
    times = {m: (w * w + 9 * w) * 196 / 1e6 for m, w in models.items()}
    for table in ("mobile_tflite_ms.csv", "mobile_torch_ms.csv"):
        write(
            tmp_path / table, [{"model": m, **dict.fromkeys(columns, t)} for m, t in times.items()]
        )
    write(
        tmp_path / "ncnn_ms.csv",
        [
            {
                "run_id": run,
                "device": board.device.rstrip(","),
                "heading": board.name,
                "core": board.core,
                "isa": "v8.0",
                "cluster_ambiguous": int(board.ambiguous),
                "threads": threads,
                "gpu_device": gpu,
                "model": model,
                "is_int8": int8,
                "min_ms": ms * factor,
            }
            for run, (board, threads) in enumerate(runs)
            # Whatever ran on a GPU or in int8 must not be read: it would be 100 times too fast.
            for gpu, int8, factor in (("-1.0", 0, 1), ("0.0", 0, 0.01), ("", 1, 0.01))
            for model, ms in times.items()
        ],
    )
    return tmp_path


def test_the_command_writes_every_device_twice_alike(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in ("one", "two"):
        main(["--measurements", str(tables), "--out", str(tables / out)])
    files = sorted((tables / "one").iterdir())
    boards = sum(len(board.threads) for board in BOARDS)
    assert len(files) == boards + len(TRANSFERRED) + sum(len(p[-1]) for p in PHONES)
    printed = capsys.readouterr().out
    for path in files:
        assert path.read_bytes() == (tables / "two" / path.name).read_bytes()
        device = load_device(path)
        assert path.name == device.file_name
        assert device.key in printed
        if device.runtime == "onnxruntime":
            assert device.board in TRANSFERRED
            assert "Not measured under onnxruntime" in device.note
            assert (device.networks, device.measured_kinds) == ((), {})
            assert (set(device.weights), set(device.counted_kinds)) == (
                set(COUNTED),
                set(KERNEL_KINDS),
            )
            continue
        assert len(device.networks) == 4
        networks = read_layers(tables / "ncnn_layers.csv")
        macs = sum(kernel.macs for kernel in networks["net64"])
        # Four networks decide little; what must not be read would make it a hundredth.
        assert 0.2 < predict_kernels(networks["net64"], device).ms / (macs / 1e6) < 2


def test_broken_tables_end_in_a_sentence(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tables / "mobile_torch_ms.csv").write_text("model\nnet8\n", encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["--measurements", str(tables), "--out", str(tables / "out")])
    assert caught.value.code == 2
    assert f"lacks the columns {PHONE_COLUMN.format('iphonexs')}" in capsys.readouterr().err
    assert not (tables / "out").exists()


def test_an_operation_without_a_kind_is_refused_with_its_line(tables: Path) -> None:
    path = tables / "ncnn_layers.csv"
    path.write_text(path.read_text().replace("dwconv", "attention", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"line 3: `op` \(='attention'\) must be one of conv"):
        read_layers(path)


PRICING_KINDS = [k for k in DEVICES if device(k).networks and device(k).counter is None]


@pytest.mark.parametrize("key", PRICING_KINDS)
def test_a_kind_that_hardly_any_network_holds_follows_its_nearest(key: str) -> None:
    on = device(key)
    ratios = prior(on.runtime, on.precision, on.threads)
    for name, nearest in NEAREST.items():
        if on.measured_kinds.get(name.rpartition(".")[2], 0) < MEASURED_FROM_NETWORKS:
            expected = on.weights[nearest] * ratios[name] / ratios[nearest]
            assert on.weights[name] == pytest.approx(expected, rel=1e-4)


# --- Prices of what is counted ------------------------------------------------------------------

COUNT_PRICES_NS = (0.5, 0.25, 4.0, 80.0)


@pytest.fixture
def counts_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What ncnn executes in single precision: an instruction per multiply-add and one per element,
    misses by elements read and written."""

    def predicted(k: Kernel) -> tuple[float, ...]:
        return (k.macs / 4, k.in_elements / 2, k.in_elements / 64, k.out_elements / 256)

    class Known:
        counts = staticmethod(predicted)

    def found(runtime: str, precision: str) -> Known | None:
        return Known() if (runtime, precision) == ("ncnn", "fp32") else None

    for module in ("charges", "fit"):
        monkeypatch.setattr(f"latency_models.{module}.counters", found)
    counted.cache_clear()
    yield
    counted.cache_clear()


def counted_ms(kernels: list[Kernel]) -> float:
    amounts = (dict(counted(k, "ncnn", "fp32")) for k in kernels)
    prices_ns = dict(zip(COUNTED, COUNT_PRICES_NS, strict=True))
    return sum(prices_ns[name] * n for each in amounts for name, n in each.items()) / 1e6


@pytest.mark.usefixtures("counts_known")
def test_prices_of_counts_are_recovered_from_exact_times() -> None:
    networks = made_up_networks(400)
    found = fitted(networks, {name: counted_ms(kernels) for name, kernels in networks.items()})
    for name, ns in zip(COUNTED, COUNT_PRICES_NS, strict=True):
        assert found.weights[name] == pytest.approx(ns, rel=0.25), name


@pytest.mark.usefixtures("counts_known")
def test_kinds_that_hardly_any_network_holds_are_priced_by_their_counts() -> None:
    networks = made_up_networks(20)
    gather = dataclasses.replace(networks["net0"][0], kind="gather", macs=0)
    networks["net0"].append(gather)
    found = fitted(networks, {name: price_ms(kernels) for name, kernels in networks.items()})
    assert set(found.counted_kinds) == set(ANCHORS)
    by_counts_ns = [found.weights[name] * n for name, n in counted(gather, "ncnn", "fp32")]
    factor = found.counted_kinds["gather"]
    assert kernel_ms(gather, found) == pytest.approx(factor * sum(by_counts_ns) / 1e6)


@pytest.mark.usefixtures("counts_known")
def test_a_price_by_counts_is_anchored_in_the_fitted_price_of_the_nearest_kind() -> None:
    networks = made_up_networks(20)
    times = {name: price_ms(kernels) for name, kernels in networks.items()}
    found = fitted(networks, times)

    def of_time(prices: Callable[[Kernel], Iterable[tuple[str, float]]]) -> float:
        return sum(
            found.weights[price] * amount / times[name]
            for name, kernels in networks.items()
            for kernel in kernels
            if kernel.kind == "concat"
            for price, amount in prices(kernel)
        )

    by_counts = of_time(lambda kernel: counted(kernel, "ncnn", "fp32"))
    assert found.counted_kinds["gather"] == pytest.approx(of_time(features) / by_counts, rel=1e-2)


@pytest.mark.usefixtures("counts_known")
@pytest.mark.parametrize("changes", [{"runtime": "tflite"}, {"precision": "fp16"}])
def test_what_nothing_was_counted_of_has_no_prices_of_counts(changes: dict[str, str]) -> None:
    networks = made_up_networks(20)
    times = {name: price_ms(kernels) for name, kernels in networks.items()}
    found = fitted(networks, times, **changes)
    assert found.counted_kinds == {}
    assert not set(COUNTED) & set(found.weights)
    assert set(COUNTED) <= set(fitted(networks, times).weights)
