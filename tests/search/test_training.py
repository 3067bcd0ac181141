"""The commands train and evaluate: what they leave, refuse, and take up again."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from results.weights import load_weights
from search.cli import main
from search_space import NetworkSpec, cost
from search_space.cost import Cost

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Json = Callable[..., Any]


def same(one: Path, two: Path) -> None:
    """Holds two trainings to be the same but for their times."""
    for name in ("weights.safetensors", "condensed.safetensors"):
        tensors, others = load_file(one / name), load_file(two / name)
        assert tensors.keys() == others.keys()
        for key, tensor in tensors.items():
            assert torch.equal(tensor, others[key]), key
    assert (one / "steps.csv").read_bytes() == (two / "steps.csv").read_bytes()
    times = ["wall_s", "images_per_s"]
    rows, other_rows = (pd.read_csv(f / "metrics.csv").drop(columns=times) for f in (one, two))
    pd.testing.assert_frame_equal(rows, other_rows, check_exact=True)
    results, other = (json.loads((f / "result.json").read_text()) for f in (one, two))
    assert {**results, "wall_s": 0} == {**other, "wall_s": 0}


# --- What a training leaves ----------------------------------------------------------------------


def test_a_folder_holds_all_that_a_training_leaves(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} - {".lock"} == {
        *("architecture.yaml", "weights.safetensors", "condensed.safetensors", "card.md"),
        *("verification.json", "recipe.yaml", "metrics.csv", "steps.csv", "curve.png"),
        *("tensorboard", "result.json"),
    }
    assert list((trained / "tensorboard").glob("events.out.tfevents.*"))
    assert len(pd.read_csv(trained / "metrics.csv")) == 3
    assert pd.read_csv(trained / "steps.csv")["step"].tolist() == list(range(1, 28))
    verification = json.loads((trained / "verification.json").read_text())
    assert verification["agrees"] is True


def test_each_learned_layer_keeps_what_its_factor_says(
    trained: Path, check_kept: Callable[[Path], None]
) -> None:
    check_kept(trained)
    spec = NetworkSpec.load(trained / "architecture.yaml")
    condensed = load_weights(spec, trained / "condensed.safetensors")
    assert condensed.form == "condensed"
    price: Cost = cost(spec)
    result = json.loads((trained / "result.json").read_text())
    assert (result["macs"], result["params"]) == (price.macs, price.params)
    assert sum(p.numel() for p in condensed.parameters()) == price.params


def test_top_1_and_top_5_are_printed(trained: Path, trained_printed: str) -> None:
    result = json.loads((trained / "result.json").read_text())
    for part in ("validation", "test"):
        top1, top5 = (f"{result[part][name]:.2%}" for name in ("top1", "top5"))
        assert re.search(rf"^{part} +top-1 {top1}, top-5 {top5}, ", trained_printed, re.MULTILINE)
    assert result["test"]["images"] == 360
    assert result["test"]["top1"] > 0.2, "a tenth is chance"


def test_json_of_a_complete_training_is_its_result(
    trained: Path, train_arguments: list[str], search_json: Json
) -> None:
    before = {p: p.stat().st_mtime_ns for p in trained.rglob("*")}
    found = search_json(*train_arguments, "--out", str(trained), "--resume")
    written = json.loads((trained / "result.json").read_text())
    assert found == {"out": str(trained), **written}
    assert {p: p.stat().st_mtime_ns for p in trained.rglob("*")} == before


# --- Going on ------------------------------------------------------------------------------------


def test_a_killed_training_ends_as_if_nothing_had_happened(
    stopped: Run, trained: Path, train_arguments: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    arguments = [*train_arguments, "--out", str(out), "--resume"]
    # In the middle of the first, second and third epoch of nine updates: the second process begins
    # anew, the third goes on after the first epoch.
    for updates, epochs_done in ((4, 0), (13, 1), (13, 2)):
        done = stopped("SIGKILL", updates, *arguments)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert (out / "checkpoint.pt").is_file() is (epochs_done > 0)
        written = pd.read_csv(out / "metrics.csv") if epochs_done else []
        assert len(written) == epochs_done
    assert main(arguments) == 0
    assert not (out / "checkpoint.pt").exists()
    same(trained, out)


def test_a_terminated_training_says_how_to_go_on_and_does(
    unfinished: Path,
    terminated: subprocess.CompletedProcess[str],
    trained: Path,
    train_arguments: list[str],
) -> None:
    assert terminated.returncode == 4, terminated.stderr
    assert "stopped after update 13 of 27; go on with: the same command with" in terminated.stderr
    assert terminated.stderr.strip().endswith(" --resume")
    assert (unfinished / "checkpoint.pt").is_file()
    assert not (unfinished / "result.json").exists()
    assert main([*train_arguments, "--out", str(unfinished), "--resume"]) == 0
    same(trained, unfinished)


OTHER: dict[str, list[str]] = {
    "seed": ["--seed", "1"],
    "validation": ["--validation", "0.2"],
    "learning_rate": ["--lr", "0.2"],
    "batch_size": ["--batch-size", "64"],
    "epochs": ["--epochs", "2"],
    "recipe": ["--recipe", "proxy", "--epochs", "3"],
    "pruning": ["--set", "pruning=traditional"],
    "network": ["--resolution", "16"],
}


@pytest.mark.parametrize("setting", [*OTHER, "shards"])
def test_an_unfinished_training_keeps_its_settings(
    setting: str, unfinished: Path, train_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = OTHER.get(setting, ["--accumulate", "2"])
    assert main([*train_arguments, "--out", str(unfinished), "--resume", *other]) == 2
    assert f"search: `{setting}` was " in capsys.readouterr().err


@pytest.mark.parametrize("setting", OTHER)
def test_a_complete_training_is_not_taken_for_another(
    setting: str, trained: Path, train_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*train_arguments, "--out", str(trained), "--resume", *OTHER[setting]]) == 2
    complaint = capsys.readouterr().err
    assert f"search: `{setting}` was " in complaint
    assert f" when {trained} was begun and is " in complaint


def test_a_taken_folder_is_refused(
    trained: Path,
    unfinished: Path,
    train_arguments: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder, what in ((trained, "a complete"), (unfinished, "an unfinished")):
        assert main([*train_arguments, "--out", str(folder)]) == 2
        assert f"{folder} holds {what} training already; add --resume" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["recipe.yaml", "card.md", "study.db", "photographs"])
def test_files_of_others_are_not_touched(
    name: str, train_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("mine")
    assert main([*train_arguments, "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} holds {name} already; choose another --out" in capsys.readouterr().err
    if name in ("study.db", "photographs"):
        assert main([*train_arguments, "--out", str(tmp_path), "--resume"]) == 2
        assert f"{tmp_path} holds {name} already" in capsys.readouterr().err
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {name: "mine"}


def test_a_network_from_elsewhere_is_not_overwritten(
    train_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "architecture.yaml").write_text("mine")
    for more in ([], ["--resume"]):
        assert main([*train_arguments, "--out", str(tmp_path), *more]) == 2
        assert "holds a network that was not trained there" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_checkpoint_is_named(
    damage: str, unfinished: Path, train_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = unfinished / "checkpoint.pt"
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"no such"}[damage])
    assert main([*train_arguments, "--out", str(unfinished), "--resume"]) == 2
    assert f"the checkpoint {path} cannot be read: " in capsys.readouterr().err


# --- Bad input -----------------------------------------------------------------------------------

BAD = {
    "network": (["train", "condensenet_86"], "did you mean condensenet-86"),
    "recipe": (["--recipe", "fast"], "known: condensenet-cifar, "),
    "recipe-file": (["--recipe", "none.yaml"], "the recipe none.yaml: cannot be read"),
    "data": (["--data", "mnist"], "unknown data set 'mnist'; known: cifar10"),
    "data-file": (["--data", "npz:none.npz"], "does not exist"),
    "tracker": (["--track", "paper"], "known: mlflow, tensorboard, wandb"),
    "augmentation": (["--set", "augment=magic"], "unknown augmentation 'magic'; known: "),
    "format": (["--format", "tflite"], "unknown format 'tflite'; known: ncnn, onnx"),
    "setting": (["--set", "lr=1"], "a recipe has no setting 'lr'; known: name, epochs, batch_size"),
    "setting-form": (["--set", "nesterov"], "must be SETTING=VALUE"),
    "setting-value": (["--set", "milestones=[0.5"], "must be a number, true, false or a list"),
    "epochs": (["--epochs", "0"], "`epochs` (=0) must be a whole number of at least 1"),
    "batch": (["--batch-size", "1"], "`batch_size` (=1) must be a whole number of at least 2"),
    "rate": (["--lr", "-1"], "`learning_rate` (=-1.0) must be positive"),
    "seed": (["--seed", "-1"], "`seed` (=-1) must be at least 0"),
    "accumulate": (["--accumulate", "0"], "`accumulate` (=0) must be at least 1"),
    "shards": (["--accumulate", "999"], "`batch_size` (=128) must be at least 1998"),
    "workers": (["--workers", "-1"], "`workers` (=-1) must be at least 0"),
    "resolution": (["--resolution", "0"], "`resolution` (=0) must be at least 1"),
    "small": (["--resolution", "1"], "leaves 1x1 pixels before stage 2"),
    "validation": (["--validation", "1"], "`validation` (=1.0) must be a share"),
    "devices": (["--devices", "tpu"], "--devices 'tpu' must be auto, cpu, cuda"),
    "gpus": (["--devices", "cuda:99"], "--devices cuda:99 asks for 99 GPUs"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_sentence_and_makes_no_folder(
    case: str, train_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    wrong, sentence = BAD[case]
    arguments = wrong if wrong[0] == "train" else [*train_arguments, *wrong]
    assert main([*arguments, "--out", str(out)]) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_is_found_where_none_is_named(
    train_arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*train_arguments, "--resume"]) == 2
    assert "--resume needs --out" in capsys.readouterr().err
    assert main([*train_arguments, "--devices", "cpu:2"]) == 2
    assert "several processes need --out" in capsys.readouterr().err
    assert main([*train_arguments, "--epochs", "1", "--validation", "0", "--track", "none"]) == 0
    out = tmp_path / "runs" / "tiny-digits-1"
    assert json.loads((out / "result.json").read_text())["validation"] is None
    assert not (out / "tensorboard").exists()
    printed = capsys.readouterr().out
    assert "validation" not in printed
    assert re.search(r"^test +top-1 ", printed, re.MULTILINE)


# --- Several processes ---------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", ["torchrun", "own"])
def test_two_processes_leave_one_folder_and_one_result(
    launcher: str, python: Run, tiny_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    done = python(
        *("-m", *(torchrun if launcher == "torchrun" else ()), "search", "train", tiny_file),
        *("--data", "digits", "--recipe", "quick", "--epochs", "1", "--devices", "cpu:2"),
        *("--out", out, "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["test"] == json.loads((out / "result.json").read_text())["test"]
    assert "2 shards a batch" in (out / "recipe.yaml").read_text()
    assert not (out / "checkpoint.pt").exists()
    assert not list(out.glob(".*.[0-9]*")), "no temporary files"


# --- evaluate ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onnx_file(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    out = tmp_path_factory.mktemp("exported") / "onnx"
    arguments = ["export", str(trained), "--format", "onnx", "--exporter", "direct"]
    assert main([*arguments, "--out", str(out)]) == 0
    return out / "model.onnx"


def test_all_forms_are_worth_the_same(
    trained: Path, onnx_file: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    expected = json.loads((trained / "result.json").read_text())["test"]
    files = {"masked": None, "condensed": trained / "condensed.safetensors", "onnx": onnx_file}
    for form, file in files.items():
        named = ["--weights", str(file)] if file else []
        found = search_json("evaluate", str(trained), "--data", "digits", *named)
        assert found["form"] == form
        assert found["weights"] == str(file or trained / "weights.safetensors")
        assert (found["top1"], found["images"]) == (expected["top1"], expected["images"])
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-3)


def test_the_validation_part_is_the_one_held_out(
    trained: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = json.loads((trained / "result.json").read_text())["validation"]
    arguments = ("evaluate", str(trained), "--data", "digits", "--part", "validation")
    found = search_json(*arguments)
    assert (found["top1"], found["top5"]) == (expected["top1"], expected["top5"])
    assert main([*arguments]) == 0
    shown = capsys.readouterr().out
    assert f"validation images of digits: top-1 {expected['top1']:.2%}, top-5" in shown


BAD_EVALUATIONS = {
    "no-weights": (["condensenet-86"], "condensenet-86 has no weights of its own"),
    "missing": (["--weights", "none.safetensors"], "none.safetensors"),
    "no-onnx": (["--weights", "none.onnx"], "none.onnx cannot be loaded as an ONNX file"),
    "data": (["--data", "mnist"], "unknown data set 'mnist'; known: "),
    "batch": (["--batch-size", "0"], "--batch-size 0 must be at least 1"),
    "resolution": (["--resolution", "0"], "--resolution 0 must be at least 1"),
    "devices": (["--devices", "cpu:2"], "--devices 'cpu:2' must be auto, cpu or cuda"),
    "part": (["--part", "validation", "--validation", "0"], "digits holds out no images"),
}


@pytest.mark.parametrize("case", BAD_EVALUATIONS)
def test_bad_evaluations_are_sentences(
    case: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, sentence = BAD_EVALUATIONS[case]
    network = [] if wrong[0] == "condensenet-86" else [str(trained)]
    assert main(["evaluate", *network, "--data", "digits", *wrong]) == 2
    assert sentence in capsys.readouterr().err


def test_images_that_the_network_has_seen_do_not_judge_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for held_out, sentence in ((0.0, "digits holds out no images"), (0.5, "719 images")):
        copy = shutil.copytree(trained, tmp_path / str(held_out))
        result = json.loads((copy / "result.json").read_text())
        (copy / "result.json").write_text(json.dumps({**result, "held_out": held_out}))
        main(["evaluate", str(copy), "--data", "digits", "--part", "validation"])
        printed = capsys.readouterr()
        assert sentence in printed.out + printed.err


def test_an_onnx_file_of_other_images_or_classes_is_refused(
    trained: Path, onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--weights", str(onnx_file), "--data", "digits"]
    assert main(["evaluate", str(trained), *arguments, "--resolution", "16"]) == 2
    assert "takes images of [3, 8, 8]" in capsys.readouterr().err
    other = NetworkSpec.load(trained / "architecture.yaml").replace(classes=12)
    (tmp_path / "other.yaml").write_text(other.to_yaml())
    assert main(["evaluate", str(tmp_path / "other.yaml"), *arguments]) == 2
    assert "computes 10 logits, the network has 12 classes" in capsys.readouterr().err


def test_an_unreadable_test_image_is_named(
    tiny_file: Path, tmp_path: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = numpy.random.default_rng(0)
    for part in ("train", "val"):
        for label in "ab":
            folder = tmp_path / "images" / part / label
            folder.mkdir(parents=True)
            for i in range(12):
                pixels = rng.integers(0, 256, (8, 8, 3), numpy.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    broken = tmp_path / "images" / "val" / "b" / "3.png"
    broken.write_bytes(b"")
    data, out = f"folder:{tmp_path / 'images'}", str(tmp_path / "out")
    options = ("--recipe", "quick", "--epochs", "1", "--track", "none", "--resolution", "8")
    assert main(["train", str(tiny_file), "--data", data, *options, "--out", out]) == 0
    assert f"1 image could not be read: {broken}" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "result.json").read_text())["unreadable"] == [str(broken)]
    exported = tmp_path / "exported"
    assert main(["export", out, "--format", "torchscript", "--out", str(exported)]) == 0
    for folder in (tmp_path / "out", exported):
        assert (folder / "labels.txt").read_text(encoding="utf-8") == "a\nb\n"
        card = (folder / "card.md").read_text(encoding="utf-8")
        assert "`labels.txt` names the classes in this order" in card
        assert "go in as (pixel - [123.68, 116.28, 103.53]) / [58.4" in card
    capsys.readouterr()
    assert search_json("evaluate", out, "--data", data)["unreadable"] == [str(broken)]
    assert main(["evaluate", out, "--data", data]) == 0
    assert f"Warning: 1 image could not be read: {broken}" in capsys.readouterr().out
