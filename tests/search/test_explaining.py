"""``search explain``: what it is given, what it says, what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from latency_models import DEFAULT_DEVICE, device, predict
from results.folder import RunFolder
from results.trial import Retrained
from search.cli import main
from search.single_change import LEAST_SAVING
from search_space import ZOO, NetworkSpec, cost

Json = Callable[..., Any]
PICTURES = ("connections", "reuse", "reactivation")


def test_a_network_of_the_zoo(search_json: Json) -> None:
    found = search_json("explain", "condensenetv2-110")
    spec = ZOO["condensenetv2-110"]
    assert (found["id"], found["macs"], found["params"]) == (
        spec.id,
        cost(spec).macs,
        cost(spec).params,
    )
    assert found["latency"]["ms"] == predict(spec).ms
    for rows in (found["parts"], found["kinds"], found["kernels"]):
        assert sum(row["ms"] for row in rows) == pytest.approx(predict(spec).ms)
    assert [t["links"] for t in found["topology"]] == [
        s.depth * (s.depth + 1) // 2 for s in spec.stages
    ]
    best = found["changes"]["best"]
    assert best
    assert all(c["saved_ms"] >= LEAST_SAVING * predict(spec).ms for c in best)
    assert (found["weights"], found["written"]) == ([], [])


def test_the_same_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "sparsenet-bc-100-k12", "--device", "paper-arm/paper/1"]) == 0
    shown = capsys.readouterr().out
    rows = [[c.strip() for c in line.split("│")[1:-1]] for line in shown.splitlines()]
    by_name = {row[0]: row for row in rows if row}
    assert by_name["stage1"][1:] == ["16", "54", "38", "5", "4"], "2 + 8 + 24 + 4 skip"
    assert "on paper-arm/paper/1" in shown
    assert "ms are for activations and pooling, as the device's counter has" in shown
    assert "Saves most per MAC that is lost: stage" in shown
    assert "No pictures: they are of trained weights, and there are none" in shown


def test_kernels_without_a_price_show_no_time(
    tiny_file: Path, tmp_path: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    on = device(DEFAULT_DEVICE)
    weights = {name: ns for name, ns in on.weights.items() if "conv" not in name}
    file = tmp_path / "bare.yaml"
    file.write_text(dataclasses.replace(on, weights=weights).to_yaml(), encoding="utf-8")
    found = search_json("explain", str(tiny_file), "--device", str(file))
    kinds = {kind["name"]: kind["ms"] for kind in found["kinds"]}
    assert kinds["conv"] is None
    assert kinds["pointwise"] > 0
    assert main(["explain", str(tiny_file), "--device", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (conv,) = [line for line in lines if line.startswith("│ conv ")]
    assert [cell.strip() for cell in conv.split("│")[4:6]] == ["", ""]


def test_a_training_has_its_pictures_in_its_folder(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(trained, tmp_path / "net")
    assert main(["explain", str(folder), "--json"]) == 0
    printed = capsys.readouterr().out
    assert "NaN" not in printed, "which is no JSON"
    found = json.loads(printed)
    written = [folder / f"explain-{name}.png" for name in PICTURES] + [folder / "explain-kept.csv"]
    assert found["written"] == [str(path) for path in written]
    assert all(path.is_file() for path in written)
    (weights,) = found["weights"]
    assert (weights["name"], weights["trained"]) == ("net", True)
    # G = C = 4; the classifier, of one group, keeps half.
    shares = {row["layer"]: row["kept"] / row["inputs"] for row in weights["kept"]}
    assert shares == {f"stage{s}_layer{n}": 0.25 for s in (1, 2) for n in (1, 2)} | {"head": 0.5}
    assert [row["source"] for row in weights["reactivated"]][:2] == ["stem", "stage1_layer1"]


def test_seeds_side_by_side(trained: Path, tmp_path: Path, search_json: Json) -> None:
    shutil.copytree(trained, tmp_path / "seed-1")
    weights = ("--weights", str(trained), "--weights", str(tmp_path / "seed-1"))
    out = tmp_path / "made" / "anew"
    found = search_json("explain", str(trained / "architecture.yaml"), *weights, "--out", str(out))
    assert [w["name"] for w in found["weights"]] == [trained.name, "seed-1"]
    assert (out / "explain-reuse.png").is_file()


def test_trials_of_a_run(scored_run: Path, search_json: Json) -> None:
    trials = RunFolder.open(scored_run).study().trials()
    second = search_json("explain", str(scored_run), "--trial", "1")
    assert (second["id"], second["network"]) == (
        trials[1].proposal.spec.id,
        f"{scored_run}, trial 1",
    )
    best = search_json("best", str(scored_run))[0]
    assert search_json("explain", str(scored_run))["network"].endswith(f"trial {best['number']}")


def test_a_trial_that_was_trained_in_full_has_weights(
    scored_run: Path, trained: Path, tmp_path: Path, search_json: Json
) -> None:
    run = shutil.copytree(scored_run, tmp_path / "run")
    spec = RunFolder.open(run).study().trials()[0].proposal.spec
    folder = run / "retrained" / "0-quick-0"
    folder.mkdir(parents=True)
    save_initial(spec, folder / "weights.safetensors")
    retrained = Retrained(
        accuracy=0.9, test_accuracy=0.9, recipe="quick", epochs=1, folder="retrained/0-quick-0"
    )
    RunFolder.open(run).study().record_retrained(0, retrained)
    found = search_json("explain", str(run), "--trial", "0")
    assert [(w["name"], w["trained"]) for w in found["weights"]] == [("0-quick-0", False)]
    assert Path(found["written"][0]).parent == run / "explained" / "0"


def save_initial(spec: NetworkSpec, path: Path) -> None:
    from results.weights import save_weights
    from search_space import build

    network = build(spec)
    network.condense_for_conversion()
    save_weights(network, path, trained=False)


def test_sums_have_no_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "resnet-56"]) == 0
    assert "No pictures: outputs that are summed cannot be told apart" in capsys.readouterr().out
    assert main(["explain", "resnet-56", "--out", str(tmp_path)]) == 2
    assert "cannot be told apart" in capsys.readouterr().err


def test_what_cannot_be_explained(
    trained: Path, scored_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.yaml"
    description = yaml.safe_load((trained / "architecture.yaml").read_text("utf-8"))
    other.write_text(yaml.safe_dump({**description, "classes": 7}), encoding="utf-8")
    taken = tmp_path / "file"
    taken.write_text("", encoding="utf-8")
    cases = {
        ("vgg-16",): "unknown network 'vgg-16'",
        ("condensenet-86", "--device", "abacus"): "unknown device 'abacus'",
        (str(scored_run), "--trial", "77"): "has no trial 77: they are 0 to 4",
        (str(scored_run), "--trial", "-1"): "has no trial -1: they are 0 to 4",
        (str(trained), "--trial", "1"): "--trial 1 is of a run, and",
        ("condensenet-86", "--out", str(tmp_path / "new")): "there are none: name some with",
        ("condensenet-86", "--weights", str(tmp_path)): "cannot be read as a .safetensors file",
        (str(other), "--weights", str(trained)): "holds weights of the network",
        (str(trained), "--out", str(taken)): "cannot be written",
    }
    for line, words in cases.items():
        assert main(["explain", *line]) == 2, line
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_run_without_a_score(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = RunFolder.open(finished_run).study().settings
    RunFolder.create(tmp_path / "run", None, settings)
    assert main(["explain", str(tmp_path / "run")]) == 2
    assert "holds no scored network yet" in capsys.readouterr().err
    assert main(["explain", str(tmp_path / "run"), "--trial", "0"]) == 2
    assert "has no trial 0: there are none" in capsys.readouterr().err
