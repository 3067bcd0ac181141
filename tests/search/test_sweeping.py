"""Networks that differ in one choice, trained with several seeds."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from search.cli import main
from search.trained_folder import locked
from search_space import NetworkSpec, macs
from search_space.variations import vary

Json = Callable[..., Any]
QUICK = ("--data", "digits", "--recipe", "quick", "--epochs", "1", "--batch-size", "128")
VARIED = ("--vary", "C=1,2,4", "--vary", "pruning=gradual,traditional")


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def arguments(tiny_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("sweeps") / "sweep"
    options = ["--seeds", "2", "--track", "none", "--out", str(out)]
    return ["sweep", str(tiny_file), *VARIED, *QUICK, *options]


@pytest.fixture(scope="module")
def swept(arguments: list[str]) -> Path:
    """The folder of a whole sweep."""
    assert main(arguments) == 0
    return Path(arguments[-1])


def test_a_sweep_leaves_tables_and_figures(swept: Path, tiny_file: Path) -> None:
    rows = pd.read_csv(swept / "sweep.csv")
    assert len(rows) == 12
    lines = [f"C, pruning {pruning}" for pruning in ("gradual", "traditional")]
    assert set(zip(rows["variation"], rows["value"], rows["seed"], strict=True)) == set(
        product(lines, (1, 2, 4), (0, 1))
    )
    assert set(rows["split"]) == {"validation"}
    assert (rows["epochs"] == rows["variation"].map(dict(zip(lines, (1, 2), strict=True)))).all()
    spec = NetworkSpec.load(tiny_file)
    for value, group in rows.groupby("value"):
        assert set(group["macs"]) == {macs(vary(spec, "C", str(value)))}
    summary = pd.read_csv(swept / "summary.csv")
    assert len(summary) == 6
    assert (summary["seeds"] == 2).all()
    means = 100 * (1 - rows.groupby(["variation", "value"])["top1"].mean())
    found = summary.set_index(["variation", "value"])["error_percent"]
    pd.testing.assert_series_equal(found.sort_index(), means, check_names=False)
    for name in ("error-macs.png", "error-params.png"):
        with Image.open(swept / name) as image:
            assert min(image.size) > 300


def test_each_training_is_whole_and_of_its_kind(
    swept: Path, check_kept: Callable[[Path], None], search_json: Json
) -> None:
    folders = sorted(path.parent for path in swept.rglob("result.json"))
    assert len(folders) == 12
    assert folders[0] == swept / "tiny" / "C=1,pruning=gradual" / "seed-0"
    for folder in folders:
        check_kept(folder)
        assert not (folder / "checkpoint.pt").exists()
    folder = swept / "tiny" / "C=4,pruning=traditional" / "seed-1"
    spec = NetworkSpec.load(folder / "architecture.yaml")
    assert [stage.condense_factor for stage in spec.stages] == [4, 4]  # type: ignore[union-attr]
    assert "pruning: traditional" in (folder / "recipe.yaml").read_text()
    found = search_json("evaluate", str(folder), "--data", "digits")
    expected = json.loads((folder / "result.json").read_text())
    assert expected["seed"] == 1
    assert found["top1"] == expected["test"]["top1"]


def test_the_same_command_trains_nothing_anew(
    swept: Path, arguments: list[str], search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stamps(swept / "tiny")
    tables = [(swept / name).read_bytes() for name in ("sweep.csv", "summary.csv")]
    capsys.readouterr()
    found = search_json(*arguments)
    assert (found["out"], found["complete"], found["missing"]) == (str(swept), 12, 0)
    written = pd.read_csv(swept / "summary.csv")["error_percent"]
    assert [line["error_percent"] for line in found["summary"]] == pytest.approx(written.tolist())
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.out.count("| tiny | C, pruning gradual |") == 3
    assert f"[12/12] {swept}" in shown.err
    assert stamps(swept / "tiny") == before
    assert [(swept / name).read_bytes() for name in ("sweep.csv", "summary.csv")] == tables


def test_a_folder_that_another_process_trains_in_is_left_to_it(
    tiny_file: Path, tmp_path: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    arguments = ("sweep", str(tiny_file), "--vary", "S=1,2", *QUICK, "--seeds", "1")
    options = ("--out", str(out), "--track", "none", "--validation", "0")
    busy = out / "tiny" / "S=1" / "seed-0"
    with locked(busy):
        found = search_json(*arguments, *options)
        assert (found["complete"], found["missing"]) == (1, 1)
        assert [line["sd_percent"] for line in found["summary"]] == [None]
        assert [path.name for path in busy.iterdir()] == [".lock"]
        assert main([*arguments, *options]) == 0
        assert "1 training left to other processes" in capsys.readouterr().out
    assert search_json(*arguments, *options)["complete"] == 2
    assert set(pd.read_csv(out / "sweep.csv")["split"]) == {"test"}


def test_a_stopped_sweep_goes_on(
    terminate_after: Callable[[int], None],
    tiny_file: Path,
    tmp_path: Path,
    search_json: Json,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "sweep"
    arguments = ("sweep", str(tiny_file), *QUICK, "--seeds", "2", "--out", str(out))
    terminate_after(9 + 4)
    assert main([*arguments, "--track", "none"]) == 4
    assert f"go on with: the same command with --out {out}" in capsys.readouterr().err
    first = out / "tiny" / "as-it-is" / "seed-0" / "result.json"
    before = first.stat().st_mtime_ns
    assert search_json(*arguments, "--track", "none")["complete"] == 2
    assert first.stat().st_mtime_ns == before
    assert set(pd.read_csv(out / "sweep.csv")["variation"]) == {"as it is"}


BAD = {
    "impossible": (["--vary", "G=1,3"], "--vary groups=3 makes no network: "),
    "unknown": (["--vary", "width=1"], "--vary width: nothing is called so; known of a network: "),
    "form": (["--vary", "C"], "must be NAME=VALUE,VALUE"),
    "empty": (["--vary", "C="], "must be NAME=VALUE,VALUE"),
    "twice": (["--vary", "C=1", "--vary", "C=2"], "--vary condense_factor is given twice"),
    "twice-in-full": (
        ["--vary", "C=1", "--vary", "condense_factor=2"],
        "--vary condense_factor is given twice",
    ),
    "setting": (["--vary", "pruning=gradual,hard"], "`pruning` (='hard') must be one of"),
    "augmentation": (["--vary", "augment=none,magic"], "unknown augmentation 'magic'; known: "),
    "seeds": (["--seeds", "0"], "--seeds 0 must be at least 1"),
    "data": (["--data", "mnist"], "unknown data set 'mnist'; known: "),
    "format": (["--format", "tflite"], "unknown format 'tflite'; known: "),
    "tracker": (["--track", "paper"], "unknown tracker 'paper'; known: "),
}


def test_a_folder_of_something_else_is_refused(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.db").write_text("mine")
    assert main(["sweep", str(tiny_file), *VARIED, *QUICK, "--out", str(tmp_path)]) == 2
    assert "holds study.db, which no sweep wrote" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_a_training_that_diverges_does_not_end_the_sweep(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = ("--vary", "learning_rate=1e30,0.1", "--seeds", "1", "--track", "none")
    assert main(["sweep", str(tiny_file), *rates, *QUICK, "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "1 training of the sweep came to nothing: " in printed.err
    assert "learning_rate=1e30" in printed.err
    assert "the loss became" in printed.err
    assert "left to other processes" not in printed.out
    assert pd.read_csv(tmp_path / "sweep.csv")["value"].tolist() == [0.1]


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_before_anything_is_trained(
    case: str, tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    wrong, sentence = BAD[case]
    assert main(["sweep", str(tiny_file), *QUICK, "--out", str(out), *wrong]) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_two_networks_of_one_name_are_refused(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "tiny.yaml"
    other.write_text(tiny_file.read_text())
    out = tmp_path / "out"
    assert main(["sweep", str(tiny_file), str(other), *QUICK, "--out", str(out)]) == 2
    assert "seed-0 would hold 2 trainings; name networks and values once" in capsys.readouterr().err


def test_several_processes_need_a_folder(
    tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(tiny_file), *QUICK, "--devices", "cpu:2"]) == 2
    assert "several processes need --out" in capsys.readouterr().err
