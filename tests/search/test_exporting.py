"""`search export` and `search verify`, with small networks."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from results import verify as verification
from results.formats import ARCHITECTURE, EXPORTERS, FORMATS, WEIGHTS
from results.verify import known_forms, random_network
from results.weights import load_weights, save_weights
from search import exporting, importing
from search.cli import main
from search.exporting import names
from search.trained_folder import DETECTOR
from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec, build
from search_space.lowering import LOWERINGS
from search_space.network import Network

SPEC = NetworkSpec(
    image_size=8,
    classes=6,
    stem=StemSpec(channels=8),
    stages=(
        DenseStage(
            depth=2,
            growth_rate=8,
            groups_1x1=4,
            condense_factor=4,
            sfr="all",
            sfr_groups=4,
            sparse_factor=2,
        ),
    ),
    head=HeadSpec(features=10),
)


@pytest.fixture
def net(tmp_path: Path) -> str:
    path = tmp_path / "net.yaml"
    path.write_text(SPEC.to_yaml(), encoding="utf-8")
    return str(path)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    path = tmp_path / "w.safetensors"
    save_weights(random_network(SPEC), path)
    return str(path)


def test_the_commands_offer_what_there_is() -> None:
    assert tuple(FORMATS) == exporting.EXPORT_FORMATS
    assert known_forms() == exporting.FORMS
    assert exporting.EXPORTERS == EXPORTERS
    assert tuple(LOWERINGS) == exporting.LOWERINGS
    assert (importing.ARCHITECTURE, importing.WEIGHTS) == (ARCHITECTURE, WEIGHTS)


def test_names_may_be_repeated_and_joined() -> None:
    assert names(["onnx,state_dict", "torchscript, onnx"]) == ["onnx", "state_dict", "torchscript"]


def test_export_writes_what_verify_and_others_read_back(
    net: str, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    out = tmp_path / "out"
    arguments = ("export", net, "--weights", weights, "--out", str(out), "--exporter", "direct")
    assert main([*arguments, "--format", "onnx,torchscript", "--format", "state_dict"]) == 0
    printed = capsys.readouterr()
    assert "condensed-onnx" in printed.out
    text = (out / "card.md").read_text(encoding="utf-8")
    assert "untrained" not in printed.out + text
    assert "onnx (lowering onnxruntime-arm, written by the direct exporter)" in text
    again = ["verify", str(out / "architecture.yaml"), "--weights", f"{out}/weights.safetensors"]
    assert main(again) == 0
    capsys.readouterr()
    assert main(["verify", str(out), "--forms", "masked,condensed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["weights"] == f"{out}/weights.safetensors"
    twice = ["export", str(out), "--format", "state_dict", "--out", str(tmp_path / "twice")]
    assert main(twice) == 0
    assert "untrained" not in capsys.readouterr().out
    assert main([*arguments, "--format", "onnx"]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_export_without_weights_says_that_they_are_untrained(
    net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["export", net, "--format", "torchscript", "--out", str(out)]
    assert main([*arguments, "--lowering", "dense"]) == 0
    assert "torchscript (lowering dense)" in (out / "card.md").read_text(encoding="utf-8")
    assert "untrained" in capsys.readouterr().out
    assert "**The weights are untrained**" in (out / "card.md").read_text(encoding="utf-8")
    saved = load_weights(SPEC, out / "weights.safetensors")
    expected = build(SPEC, generator=torch.Generator().manual_seed(0))
    expected.condense(1.0)
    assert saved.form == "condensed"
    again = ["export", str(out), "--format", "state_dict", "--out", str(tmp_path / "again")]
    assert main(again) == 0
    assert "untrained" in capsys.readouterr().out
    for name, tensor in expected.to_inference().state_dict().items():
        assert torch.equal(saved.state_dict()[name], tensor), name


def test_detectors_are_not_exported(
    net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = tmp_path / "detector"
    detector.mkdir()
    shutil.copy(net, detector / ARCHITECTURE)
    (detector / DETECTOR).write_text("format: 1\n", encoding="utf-8")
    assert main(["export", str(detector), "--format", "onnx", "--out", str(tmp_path / "o")]) == 2
    assert "holds a detector" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_verify_prints_a_line_per_network_or_json(
    net: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    search_json: Callable[..., Any],
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("search_space.ZOO", {"one": SPEC, "two": SPEC})
    assert main(["verify", "--all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["one", "two"]
    assert all("masked-condensed" in line and "onnx by direct" in line for line in lines)
    assert all("  equal (largest " in line and "1e-04 allowed)" in line for line in lines)
    (found,) = search_json("verify", net, "--forms", "masked,condensed")
    assert (found["network"], found["agrees"], found["exporter"]) == (SPEC.id, True, "")
    assert found["comparisons"][0]["difference"] < 1e-5


def test_a_corrupted_form_is_found(
    net: str,
    weights: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def corrupted(network: Network) -> Network:
        condensed = network.to_inference()
        index = condensed.get_buffer("steps.stage1_layer2.reduce_gather.index")
        index[0] = (index[0] + 1) % 16
        return condensed

    monkeypatch.setattr(verification, "condensed_form", corrupted)
    arguments = ["verify", net, "--weights", weights, "--forms", "masked,condensed"]
    assert main(arguments) == 5
    printed = capsys.readouterr()
    assert "DIFFERS" in printed.out
    assert "NOT EQUAL (largest " in printed.out
    assert "differ by more than 1e-04" in printed.err
    assert main([*arguments, "--json"]) == 5
    assert json.loads(capsys.readouterr().out)[0]["agrees"] is False
    out = tmp_path / "out"
    export = ["export", net, "--weights", weights, "--format", "state_dict", "--out", str(out)]
    assert main(export) == 5
    assert "masked and condensed" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.yaml", "w.safetensors"]


def test_a_missing_library_is_bad_input(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)  # type: ignore[arg-type]
    assert main(["export", net, "--format", "ncnn", "--out", str(tmp_path / "out")]) == 2
    assert 'pip install "condensed-search[ncnn]"' in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["net.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify"], "name one network"),
        (["verify", "condensenet-86", "--all"], "not both"),
        (["verify", "--all", "--weights", "w"], "belong to one network"),
        (["verify", "condensenet-86", "--forms", "onnx"], "at least two forms"),
        (["verify", "condensenet-86", "--forms", "onnx,tflite"], "unknown form 'tflite'"),
        (["verify", "condensenet-86", "--arm", "/nowhere"], "scripts/setup_arm /nowhere"),
        (["verify", "condensenet-86", "--forms", "masked", "--arm", "/"], "add onnx to --forms"),
        (["verify", "condensenet-86", "--weights", "absent"], "absent cannot be read"),
        (["export", "condensenet-86", "--format", "tflite", "--out", "o"], "unknown format"),
        (["export", "condensenet-86", "--format", ",", "--out", "o"], "--format"),
        (["export", "alexnet", "--format", "onnx", "--out", "o"], "unknown network"),
    ],
)
def test_bad_input_is_a_sentence(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
