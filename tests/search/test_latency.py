"""The commands on latencies."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency_models import DEVICES, device, predict
from results.folder import RunFolder
from search.cli import main
from search.torchvision_models import export_torchvision
from search_space import ZOO, macs

Json = Callable[..., Any]
LAYERS = (
    "model,op,cin,hin,cout,hout,k,stride,groups,macs,params,in_elems,out_elems\n"
    "one,conv,3,32,16,32,3,1,1,442368,432,3072,16384\n"
    "one,gpool,16,32,16,1,,,,0,0,16384,16\n"
    "one,fc,16,1,10,1,,,,160,160,16,10\n"
    "two,pwconv,16,32,64,32,1,1,1,1048576,1024,16384,65536\n"
    "three,gconv,16,32,64,32,3,1,4,2359296,2304,16384,65536\n"
)


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    path = tmp_path / "layers.csv"
    path.write_text(LAYERS)
    return path


def measured(folder: Path, **ms: object) -> Path:
    path = folder / "measured.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("model", "ms"), *ms.items()])
    return path


def test_all_devices_are_listed(search_json: Json, capsys: pytest.CaptureFixture[str]) -> None:
    found = search_json("latency", "devices")
    assert [d["key"] for d in found] == list(DEVICES)
    assert all(0 < d["mean"] < 1 and d["core"] and d["source"] for d in found)
    assert main(["latency", "devices"]) == 0
    shown = capsys.readouterr().out
    assert all(key in shown for key in DEVICES)


def test_a_network_is_predicted_as_the_search_prices_it(
    search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("latency", "predict", "condensenetv2-a", "--device", "jetson-nano/ncnn/1")
    found, expected = search_json(*arguments), predict(ZOO["condensenetv2-a"], "jetson-nano/ncnn/1")
    assert found["ms"] == pytest.approx(expected.ms)
    assert (found["low_ms"], found["high_ms"]) == pytest.approx((expected.low_ms, expected.high_ms))
    assert found["extrapolated"] == list(expected.extrapolated)
    assert sum(found["breakdown_ms"].values()) == pytest.approx(expected.ms)
    assert main([*arguments]) == 0
    shown = capsys.readouterr().out
    assert f"{expected} on jetson-nano/ncnn/1" in shown
    assert "not measured there" in shown


def test_a_network_of_torchvision_and_its_file_are_predicted_alike(
    search_json: Json, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = search_json("latency", "predict", "torchvision:squeezenet1_1", "--resolution", "64")
    path = tmp_path / "network.onnx"
    export_torchvision("squeezenet1_1", path, 64)
    read = search_json("latency", "predict", str(path))
    assert named.pop("network") == "torchvision:squeezenet1_1"
    assert read.pop("network") == str(path)
    assert named == read
    assert named["unpriced"] == []
    assert named["macs"] > 0
    assert main(["latency", "predict", str(path)]) == 0
    assert f"{named['macs']:,} MACs" in capsys.readouterr().out


def test_the_resolution_of_a_network_may_be_chosen(search_json: Json) -> None:
    large, small = (
        search_json("latency", "predict", "condensenet-86", "--resolution", pixels)["macs"]
        for pixels in ("64", "32")
    )
    assert small == macs(ZOO["condensenet-86"]) < large


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("torchvision:squeezenet1_2",), "did you mean squeezenet1_1 or squeezenet1_0?"),
        (("condensenet-86", "--resolution", "0"), "--resolution 0 must be at least 1 pixel"),
        (("layers.csv", "--resolution", "9"), "--resolution 9 is for networks"),
        (("none.onnx",), "none.onnx: cannot be read as ONNX"),
    ],
)
def test_networks_that_cannot_be_predicted_are_refused(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latency", "predict", *arguments]) == 2
    assert sentence in capsys.readouterr().err


PAPER_ARM = ("--device", "paper-arm/paper/1")


def test_the_papers_arm_is_told_to_be_what_it_is(
    search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    (listed,) = (d for d in search_json("latency", "devices") if d["key"] == PAPER_ARM[1])
    assert set(listed["misfits"]) == {"resnet-18", "vgg-16"}
    assert all(name in listed["note"] for name in listed["misfits"])
    predicted = search_json("latency", "predict", "condensenet-c", *PAPER_ARM)
    assert predicted["note"] == listed["note"]
    for command in (["latency", "predict"], ["cost"]):
        assert main([*command, "condensenet-c", *PAPER_ARM]) == 0
        shown = capsys.readouterr().out
        assert listed["note"] in shown
        assert "90 %" not in shown
    assert main(["latency", "devices"]) == 0
    assert f"{PAPER_ARM[1]} does not hold for vgg-16" in capsys.readouterr().out


def test_a_search_on_the_papers_arm_ends_with_the_note(
    search_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--trials", "1", "--out", str(tmp_path / "run"))
    assert main([*search_arguments, *out, *PAPER_ARM]) == 0
    assert f"Note: {device(PAPER_ARM[1]).note}" in capsys.readouterr().out


def test_networks_of_a_layer_table_are_predicted_one_by_one(
    layers: Path, search_json: Json
) -> None:
    found = search_json("latency", "predict", str(layers))
    assert [row["network"] for row in found] == ["one", "two", "three"]
    assert set(found[0]["breakdown_ms"]) == {"conv", "global_pool", "linear"}
    assert "grouped_conv" in " ".join(found[2]["extrapolated"])


def test_predictions_are_judged_by_measurements(
    layers: Path, tmp_path: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted = {
        row["network"]: row["ms"] for row in search_json("latency", "predict", str(layers))
    }
    ms = {"one": predicted["one"], "two": predicted["two"] / 1.5, "three": 2 * predicted["three"]}
    tables = ("--layers", str(layers), "--measured", str(measured(tmp_path, **ms)))
    found = search_json("latency", "evaluate", *tables)
    assert found["networks"] == 3
    assert found["mean"] == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert found["within_20_percent"] == pytest.approx(1 / 3)
    assert main(["latency", "evaluate", *tables]) == 0
    shown = capsys.readouterr().out.splitlines()
    judged = [line for line in shown if "measured, " in line]
    assert [line.split()[0] for line in judged] == ["three", "one", "two"]
    assert judged[0].endswith("-50.0%")
    assert "3 networks: mean error 33.3%" in shown[-1]
    assert any("not measured there" in line for line in shown)


def test_measured_networks_without_layers_are_named(
    layers: Path, tmp_path: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    table = measured(tmp_path, one=1.0, seven=2.0, nine=3.0)
    tables = ("--layers", str(layers), "--measured", str(table))
    found = search_json("latency", "evaluate", *tables)
    assert (found["networks"], found["without_layers"]) == (1, ["nine", "seven"])
    assert main(["latency", "evaluate", *tables]) == 0
    assert "has no layers of them: nine, seven" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"one": "fast"}, "`ms` (='fast') of one must be milliseconds above 0"),
        ({"one": -1}, "`ms` (='-1') of one must be milliseconds above 0"),
        ({"one": "nan"}, "must be milliseconds above 0"),
        ({"four": 1}, "no network has both layers and a measured time"),
    ],
)
def test_measurements_that_are_none_are_refused(
    change: dict[str, object],
    sentence: str,
    layers: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = measured(tmp_path, **change)
    assert main(["latency", "evaluate", "--layers", str(layers), "--measured", str(table)]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("model,op", "name,op", "lacks the columns model"),
        (",k,", ",window,", "lacks the column k"),
        ("pwconv", "attention", "line 5: `op` (='attention')"),
        ("1048576", "many", "line 5: a cell is missing or no number"),
        ("1048576", "inf", "line 5: a cell is missing or no number"),
        (",1048576,1024,16384,65536", "", "line 5: a cell is missing or no number"),
        ("3,1,4,2359296", "3,1,0,2359296", "line 6: `groups` (=0) must be at least 1"),
    ],
)
def test_broken_layer_tables_are_refused(
    old: str, new: str, sentence: str, layers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers.write_text(LAYERS.replace(old, new, 1))
    assert main(["latency", "predict", str(layers)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_network_measured_twice_is_refused(
    layers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = measured(tmp_path, one=1.0)
    table.write_text(table.read_text() + "one,2.0\n")
    assert main(["latency", "evaluate", "--layers", str(layers), "--measured", str(table)]) == 2
    assert "one has two rows with `ms`" in capsys.readouterr().err


def test_a_table_from_a_spreadsheet_is_read_and_an_empty_one_is_not(
    layers: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    layers.write_text(LAYERS, encoding="utf-8-sig")
    assert len(search_json("latency", "predict", str(layers))) == 3
    layers.write_text(LAYERS.splitlines()[0] + "\n")
    assert main(["latency", "predict", str(layers)]) == 2
    assert "holds no layer" in capsys.readouterr().err


# --- calibrate ------------------------------------------------------------------------------------


def times_of(**ms: float) -> str:
    return "".join(["network,ms\n", *(f"{name},{time}\n" for name, time in ms.items())])


@pytest.fixture
def own_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A board that takes three times what the default device takes."""
    table, out = tmp_path / "times.csv", tmp_path / "my-board.yaml"
    ms = 3 * predict(ZOO["condensenetv2-a"]).ms
    table.write_text(times_of(**{"condensenetv2-a": ms}), encoding="utf-8")
    assert main(["latency", "calibrate", "--measured", str(table), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "Calibrated from raspberry-pi-4/ncnn/1, its prices times 3, with 1 network:" in shown
    assert f"Written: {out}, my-board/ncnn/1; use it with --device {out}" in shown
    return out


def test_a_board_of_ones_own_is_a_device_everywhere(own_device: Path, search_json: Json) -> None:
    expected = 3 * predict(ZOO["resnet-50"]).ms
    at = ("--device", str(own_device))
    predicted = search_json("latency", "predict", "resnet-50", *at)
    assert predicted["device"] == "my-board/ncnn/1"
    assert predicted["ms"] == pytest.approx(expected, rel=1e-5)
    own_ms = predict(ZOO["resnet-50"], str(own_device)).ms
    assert own_ms == pytest.approx(expected, rel=1e-5)
    assert search_json("cost", "resnet-50", *at)["latency"]["ms"] == own_ms
    rows = search_json("models", *at)
    assert [r["latency_ms"] for r in rows if r["name"] == "resnet-50"] == [own_ms]
    profile = search_json("space", "profile", "--samples", "5", "--latency", "90ms", *at)
    assert "90 ms on my-board/ncnn/1" in profile["limits"]


def test_networks_of_a_layer_table_calibrate_too(
    layers: Path, tmp_path: Path, search_json: Json
) -> None:
    predicted = {
        row["network"]: row["ms"] for row in search_json("latency", "predict", str(layers))
    }
    table, out = tmp_path / "times.csv", tmp_path / "mine.yaml"
    table.write_text(times_of(**{n: ms / 2 for n, ms in predicted.items()}), encoding="utf-8")
    arguments = ("--measured", str(table), "--layers", str(layers), "--out", str(out))
    found = search_json("latency", "calibrate", *arguments, "--board", "bench-top")
    assert (found["out"], found["device"]) == (str(out), "bench-top/ncnn/1")
    again = search_json("latency", "predict", str(layers), "--device", str(out))
    for row in again:
        assert row["ms"] == pytest.approx(predicted[row["network"]] / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("network,ms\n", (), "holds no time"),
        (times_of(condensenet=1.0), (), "unknown network 'condensenet'"),
        (times_of(**{"condensenet-86": 0}), (), "must be milliseconds above 0"),
        ("network,ms\ncondensenet-86,1\ncondensenet-86,2\n", (), "has two rows with `ms`"),
        (times_of(**{"condensenet-86": 9}), ("--base", "toaster"), "unknown device 'toaster'"),
        (times_of(**{"condensenet-86": 9}), ("--board", "a/b"), "must be one word"),
        (times_of(**{"condensenet-86": 9}), ("--out", "mine.txt"), "must end in .yaml"),
        (times_of(**{"condensenet-86": 9}), ("--out", "none/mine.yaml"), "cannot be written"),
    ],
)
def test_calibrations_that_are_none_are_refused(
    text: str,
    more: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("times.csv").write_text(text, encoding="utf-8")
    arguments = ["latency", "calibrate", "--measured", "times.csv", "--out", "mine.yaml", *more]
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("mine.yaml").exists()


def test_a_search_goes_on_without_the_file_of_its_device(
    own_device: Path, search_arguments: list[str], tmp_path: Path, search_json: Json
) -> None:
    out = tmp_path / "run"
    begun = search_json(
        *search_arguments, "--device", str(own_device), "--trials", "1", "--out", str(out)
    )
    own_device.unlink()
    found = search_json("resume", str(out), "--trials", "2")
    assert found["complete"] == 2
    assert begun["best"]["latency_ms"] > 0
    for trial in RunFolder.open(out).study().trials():
        usual = predict(trial.proposal.spec).ms
        assert trial.estimate.latency_ms == pytest.approx(3 * usual, rel=1e-5)
