"""The commands detect train and detect evaluate: what they leave, refuse, and take up again."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from benchmarks.detection_shapes import write_shapes
from results.weights import save_weights
from search import detecting
from search.cli import main
from search.detection_progress import DetectDisplay
from search_space import NetworkSpec, build
from trainers.detection.coco import load_coco
from trainers.detection.detector import FRAMEWORKS

Json = Callable[..., Any]
SMALL = ("--short-side", "64", "--long-side", "64", "--fpn-channels", "8", "--devices", "cpu")
TRAIN = ("--framework", "retinanet", *SMALL, "--epochs", "2", "--batch-size", "2")


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four images to train on and two to judge by."""
    return f"coco:{write_shapes(tmp_path_factory.mktemp('coco'), train=4, val=2, size=64)}"


@pytest.fixture(scope="session")
def detected(trained: Path, coco: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a detector around the small network that ``search train`` has trained."""
    out = tmp_path_factory.mktemp("detected") / "d"
    assert main(["detect", "train", str(trained), "--data", coco, *TRAIN, "--out", str(out)]) == 0
    return out


def same(one: Path, two: Path) -> None:
    """Holds two trainings to be the same but for their times."""
    tensors, others = (load_file(f / "detector.safetensors") for f in (one, two))
    assert tensors.keys() == others.keys()
    assert all(tensors[name].equal(others[name]) for name in tensors)
    assert (one / "steps.csv").read_bytes() == (two / "steps.csv").read_bytes()
    results, other = (json.loads((f / "result.json").read_text()) for f in (one, two))
    assert {**results, "wall_s": 0} == {**other, "wall_s": 0}


def test_the_frameworks_are_those_that_there_are() -> None:
    assert set(FRAMEWORKS) == set(detecting.FRAMEWORKS)


def test_a_folder_holds_all_that_a_training_leaves(detected: Path) -> None:
    assert {path.name for path in detected.iterdir()} - {".lock"} == {
        *("architecture.yaml", "detector.yaml", "detector.safetensors", "result.json"),
        *("metrics.csv", "steps.csv", "curve.png"),
    }
    assert len(pd.read_csv(detected / "metrics.csv")) == 2
    assert pd.read_csv(detected / "steps.csv")["step"].tolist() == [1, 2, 3, 4]
    assert set(pd.read_csv(detected / "steps.csv")["density"]) == {
        pd.read_csv(detected / "metrics.csv")["density"].iloc[0]
    }, "nothing condenses any further"


def test_the_folder_is_judged_as_its_training_was(
    detected: Path, coco: str, search_json: Json
) -> None:
    found = search_json("detect", "evaluate", str(detected), "--data", coco)
    expected = json.loads((detected / "result.json").read_text())["precision"]
    assert {name: found[name] for name in expected} == expected


def test_an_interrupted_training_goes_on_to_the_bit(
    trained: Path,
    detected: Path,
    coco: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [
        "detect",
        "train",
        str(trained),
        "--data",
        coco,
        *TRAIN,
        "--out",
        str(tmp_path / "d"),
    ]
    left = iter(range(2, 0, -1))  # the update after the signal is the last

    def updated(display: DetectDisplay, training: object) -> None:
        if next(left, None) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(DetectDisplay, "updated", updated)
        assert main(command) == 4
    said = capsys.readouterr().err
    assert "stopped after update 3 of 4; go on with: the same command with --out" in said
    assert main(command) == 2, "it is not begun anew in silence"
    assert main([*command, "--resume", "--lr", "0.1"]) == 2
    assert "`learning_rate` was" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert "Resumed  after update 3 of 4" in capsys.readouterr().err
    same(tmp_path / "d", detected)
    before = (tmp_path / "d" / "result.json").read_bytes()
    assert main([*command, "--resume"]) == 0, "what is complete is told again"
    assert (tmp_path / "d" / "result.json").read_bytes() == before


def test_condensed_weights_begin_where_masked_ones_do(
    trained: Path, detected: Path, coco: str, tmp_path: Path
) -> None:
    weights = ("--weights", str(trained / "condensed.safetensors"))
    out = tmp_path / "d"
    command = ["detect", "train", str(trained), *weights, "--data", coco, *TRAIN]
    assert main([*command, "--out", str(out)]) == 0
    first, other = (pd.read_csv(f / "steps.csv")["loss"][0] for f in (out, detected))
    assert first == pytest.approx(other, rel=1e-3)


def test_a_network_by_name_takes_the_weights_of_a_folder(
    trained: Path, detected: Path, coco: str, tmp_path: Path
) -> None:
    spec = NetworkSpec.load(trained / "architecture.yaml").replace(classes=7, image_size=16)
    file = tmp_path / "seven.yaml"
    file.write_text(spec.to_yaml())
    out = tmp_path / "d"
    command = ["detect", "train", str(file), "--weights", str(trained), "--data", coco, *TRAIN]
    assert main([*command, "--out", str(out)]) == 0
    tensors, others = (load_file(f / "detector.safetensors") for f in (out, detected))
    assert all(tensors[name].equal(others[name]) for name in others)


def test_what_is_trained_is_told(
    tiny_file: Path, coco: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["detect", "train", str(tiny_file), "--from-scratch", "--data", coco, *TRAIN]
    assert main([*command, "--out", str(tmp_path / "d")]) == 0
    printed = capsys.readouterr()
    told = " ".join(printed.err.split())
    assert "Detector RetinaNet, pyramid of 8 channels at strides 1, 2, 4, 8; anchors" in told
    assert "has maps of strides 1, 2 to read, where RetinaNet usually reads 8, 16, 32" in told
    assert "Warning: backbone untrained" in told
    assert "Costs" in told
    assert "2 epochs of 2 updates, 2 images each, learning rate 0.00125" in told
    assert "epoch 2: loss" in told
    assert "val2017 mAP" in " ".join(printed.out.split())


@pytest.mark.parametrize("framework", detecting.FRAMEWORKS)
def test_a_detector_that_has_learned_nothing_finds_nothing(
    framework: str, coco: str, tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("detect", "evaluate", str(tiny_file), "--from-scratch", "--framework", framework)
    assert main([*command, *SMALL, "--data", coco, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["ap50"] <= 0.02
    assert "has learned nothing yet" in printed.err


@pytest.mark.slow
def test_a_few_minutes_of_training_find_shapes(search_json: Json, tmp_path: Path) -> None:
    """On images of which neither shapes nor background were seen (docs/detection.md)."""
    data = ("--data", f"coco:{write_shapes(tmp_path / 'shapes', train=300, val=50)}")
    what = ("shufflenetv2-x0.5", "--from-scratch", "--framework", "fasterrcnn", "--devices", "cpu")
    size = ("--short-side", "128", "--long-side", "128", "--fpn-channels", "64")
    common = (*what, *size, "--box-samples", "32", *data)
    assert search_json("detect", "evaluate", *common)["ap50"] <= 0.02
    how = ("--epochs", "8", "--batch-size", "4", "--lr", "0.01")
    found = search_json("detect", "train", *common, *how, "--out", str(tmp_path / "d"))
    assert found["precision"]["ap50"] >= 0.30
    again = search_json("detect", "evaluate", str(tmp_path / "d"), *data, "--devices", "cpu")
    assert again["ap50"] == pytest.approx(found["precision"]["ap50"], abs=0.01)


BAD = {
    "no framework": (["train", "NET", "--from-scratch"], "--framework must be given"),
    "no weights": (["train", "NET", *TRAIN], "has no trained weights of its own"),
    "both": (["train", "NET", *TRAIN, "--weights", "W", "--from-scratch"], "leave one out"),
    "no data": (
        ["train", "NET", *TRAIN, "--from-scratch", "--data", "coco:/nowhere"],
        "was looked",
    ),
    "no coco": (
        ["train", "NET", *TRAIN, "--from-scratch", "--data", "digits"],
        "must be coco:PATH",
    ),
    "resume": (["train", "NET", *TRAIN, "--from-scratch", "--resume"], "--resume needs --out"),
    "processes": (
        ["train", "NET", *TRAIN, "--from-scratch", "--devices", "cpu:2"],
        "must be auto, cpu or cuda",
    ),
    "size": (["train", "NET", *TRAIN, "--from-scratch", "--short-side", "8"], "`short_side` (=8)"),
    "epochs": (["train", "NET", *TRAIN, "--from-scratch", "--epochs", "0"], "`epochs` (=0)"),
    "seed": (["train", "NET", *TRAIN, "--from-scratch", "--seed", "-1"], "`seed` (=-1)"),
    "shards": (
        ["train", "NET", *TRAIN, "--from-scratch", "--accumulate", "2"],
        "`batch_size` (=2)",
    ),
    "workers": (["train", "NET", *TRAIN, "--from-scratch", "--workers", "-1"], "`workers` (=-1)"),
    "a detector": (["evaluate", "DETECTED", "--framework", "retinanet"], "what --framework would"),
    "no batch": (["evaluate", "DETECTED", "--batch-size", "0"], "--batch-size 0 must be"),
    "other weights": (
        ["train", "condensenetv2-a", *TRAIN, "--weights", "TRAINED"],
        "holds weights",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_sentence(
    case: str,
    tiny_file: Path,
    trained: Path,
    detected: Path,
    coco: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words, expected = BAD[case]
    paths = {"NET": str(tiny_file), "DETECTED": str(detected), "TRAINED": str(trained)}
    command = ["detect", *(paths.get(word, word) for word in words)]
    assert main(command if "--data" in command else [*command, "--data", coco]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_weights_that_were_never_trained_are_none(
    tiny_file: Path, coco: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = build(NetworkSpec.load(tiny_file))
    network.condense_for_conversion()
    save_weights(network, tmp_path / "w.safetensors", trained=False)
    weights = ("--weights", str(tmp_path / "w.safetensors"))
    assert main(["detect", "train", str(tiny_file), *weights, "--data", coco, *TRAIN]) == 2
    assert "as they were drawn" in capsys.readouterr().err


def test_other_categories_are_refused(
    detected: Path, coco: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(coco.partition(":")[2], tmp_path / "other"))
    file = root / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["categories"][0]["name"] = "ring"
    file.write_text(json.dumps(content))
    assert load_coco(root, "val2017").categories[2] == "ring"
    assert main(["detect", "evaluate", str(detected), "--data", f"coco:{root}"]) == 2
    assert "has the categories ['ring'" in capsys.readouterr().err


def test_a_diverging_training_says_so(
    tiny_file: Path, coco: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["detect", "train", str(tiny_file), "--from-scratch", "--data", coco, *TRAIN]
    assert main([*command, "--lr", "1e20", "--out", str(tmp_path / "d")]) == 2
    assert "lower --lr" in capsys.readouterr().err.splitlines()[-1]


def _cut(detector: Path) -> None:
    (detector / "detector.safetensors").unlink()


def _other_tensors(detector: Path) -> None:
    tensors = load_file(detector / "detector.safetensors")
    tensors.popitem()
    save_file(tensors, detector / "detector.safetensors")


def _wild_index(detector: Path) -> None:
    tensors = load_file(detector / "detector.safetensors")
    name = next(name for name in tensors if name.endswith("gather.index"))
    tensors[name][0] = 10**6
    save_file(tensors, detector / "detector.safetensors")


def _other_format(detector: Path) -> None:
    tensors = load_file(detector / "detector.safetensors")
    save_file(tensors, detector / "detector.safetensors", {"format": "2"})


def _no_description(detector: Path) -> None:
    (detector / "detector.yaml").write_text("detector: 3\n")


DAMAGES = {
    "unfinished": (_cut, "the training is not complete"),
    "tensors": (_other_tensors, "it lacks"),
    "format": (_other_format, "`format` (=2) must be 1"),
    "index": (_wild_index, "must lie in 0 to"),
    "description": (_no_description, "describes no detector"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_folder_is_a_sentence(
    case: str, detected: Path, coco: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(detected, tmp_path / "d"))
    damage, expected = DAMAGES[case]
    damage(folder)
    assert main(["detect", "evaluate", str(folder), "--data", coco]) == 2
    assert expected in capsys.readouterr().err
