"""What ``search compare`` sets side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency_models import DEFAULT_DEVICE, predict
from search.cli import main
from search_space import ZOO, cost

COMPARED = ("condensenetv2-b", "shufflenetv2-x1.0", "sparsenet-121")
Json = Callable[..., Any]


def printed(network: dict[str, Any], metric: str) -> set[tuple[float, str]]:
    return {(p["value"], p["unit"]) for p in network["published"] if p["metric"] == metric}


def test_counts_printed_figures_and_predictions(search_json: Json) -> None:
    found = search_json("compare", *COMPARED)
    assert tuple(network["network"] for network in found) == COMPARED
    for network in found:
        spec = ZOO[network["network"]]
        assert {name: network[name] for name in cost(spec).to_dict()} == cost(spec).to_dict()
        (latency,) = network["latency"]
        assert (latency["device"], latency["ms"]) == (DEFAULT_DEVICE, predict(spec).ms)
        assert network["accuracy"] == []
    v2, shuffle, sparse = found
    assert (printed(v2, "flops"), printed(v2, "params")) == ({(146, "M")}, {(3.6, "M")})
    assert (printed(v2, "top1_error"), printed(shuffle, "top1_error")) == (
        {(28.1, "%")},
        {(30.6, "%")},
    )
    assert (printed(sparse, "top1_error"), printed(sparse, "time")) == (
        {(25.6, "%")},
        {(13.5, "ms")},
    )
    assert {(p["table"], p["row"]) for p in sparse["published"]} == {("4", 5)}


def test_the_same_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    devices = ("raspberry-pi-4/ncnn/1", "paper-arm/paper/1")
    assert main(["compare", *COMPARED, *(f"--device={name}" for name in devices)]) == 0
    shown = capsys.readouterr().out
    rows = {
        cells[1]: cells[2:5]
        for line in shown.splitlines()
        if line.startswith("│") and (cells := [cell.strip() for cell in line.split("│")])
    }
    assert rows["MACs"] == ["140.47M", "145.81M", "1.72G"]
    assert rows["printed FLOPs"] == ["146M", "146M", "3.46G"]
    assert rows["printed top-1 error, imagenet"] == ["28.1 %", "30.6 %", "25.6 %"]
    assert rows["printed time"] == ["", "", "13.5 ms"]
    assert set(rows) > {f"ms on {name}" for name in devices}
    assert "accuracy" not in rows
    assert "table 4, row 5" in shown
    assert "printed FLOPs 3.46G, table 4, differs from our count: up to 0.6 %" in shown
    assert "a misprint: 146 M are those of 1.0" in shown
    assert shown.count("paper-arm/paper/1: In proportion to FLOPs") == 1


def test_a_run_has_the_accuracy_of_its_best(search_json: Json, finished_run: Path) -> None:
    (found,) = search_json("compare", str(finished_run))
    best = search_json("status", str(finished_run))["best"]
    (accuracy,) = found["accuracy"]
    assert (found["id"], accuracy["accuracy"]) == (best["architecture"], best["accuracy"])
    assert (accuracy["part"], accuracy["data"]) == ("validation", "digits")
    assert accuracy["training"] == "in the search, 1 epoch at 8x8"
    assert (found["zoo"], found["published"]) == (None, [])


def test_rungs_have_resolutions_of_their_own(search_json: Json, rung_run: Path) -> None:
    (found,) = search_json("compare", str(rung_run))
    assert [a["training"] for a in found["accuracy"]] == ["in the search, 2 epochs at 8x8"]


def test_a_trained_folder_has_what_was_measured(
    search_json: Json, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = search_json("compare", str(trained), "condensenet-86")
    result = json.loads((trained / "result.json").read_text(encoding="utf-8"))
    assert {a["part"]: a["accuracy"] for a in found["accuracy"]} == {
        part: result[part]["top1"] for part in ("validation", "test") if result[part]
    }
    assert main(["compare", str(trained)]) == 0
    assert f"{result['test']['top1']:.1%} (test of digits, recipe quick, 3 epochs)" in (
        capsys.readouterr().out
    )


def test_a_network_of_the_zoo_is_known_by_another_name(
    search_json: Json, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(ZOO["condensenet-86"].to_yaml(), encoding="utf-8")
    (found,) = search_json("compare", str(path))
    assert found["zoo"] == "condensenet-86"
    assert printed(found, "top1_error") == {(5.0, "%"), (5.06, "%"), (23.64, "%")}
    assert main(["compare", str(path)]) == 0
    assert "which is condensenet-86" in capsys.readouterr().out


def test_what_cannot_be_compared(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "vgg-16"]) == 2
    assert "unknown network 'vgg-16'" in capsys.readouterr().err
    assert main(["compare", "resnet-50", "--device", "abacus"]) == 2
    assert "unknown device 'abacus'" in capsys.readouterr().err
    broken = shutil.copytree(trained, tmp_path / "broken")
    (broken / "result.json").write_text("{}", encoding="utf-8")
    assert main(["compare", str(broken)]) == 2
    assert "holds no result of a training" in capsys.readouterr().err
