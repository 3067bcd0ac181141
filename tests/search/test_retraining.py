"""Winners of a search trained in full."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.folder import RunFolder
from results.tables import winners
from results.trial import Trial
from search.cli import main
from search.config import RunConfig
from search.retraining import default_recipe, default_resolution
from trainers.recipes import RECIPES

Json = Callable[..., Any]
FULL = ("--recipe", "quick", "--epochs", "2", "--batch-size", "128", "--track", "none")
"""Two epochs of nine updates."""


def trials_of(run: Path) -> list[Trial]:
    return RunFolder.open(run).study().trials()


def check_written(run: Path, count: int) -> list[Trial]:
    """Holds the study, its tables and the folders of its winners to say the same."""
    trials = trials_of(run)
    chosen = winners(trials, count)
    assert [t.number for t in trials if t.retrained] == sorted(t.number for t in chosen)
    rows = pd.read_csv(run / "trials.csv").set_index("number")
    for trial in chosen:
        full = trial.retrained
        assert full is not None
        result = json.loads((run / full.folder / "result.json").read_text())
        assert full.accuracy == result["validation"]["top1"]
        assert full.test_accuracy == result["test"]["top1"]
        assert (full.recipe, full.epochs) == (result["recipe"], result["epochs"])
        assert trial.score is not None
        assert rows.loc[trial.number, "accuracy"] == trial.score.accuracy
        assert rows.loc[trial.number, "retrained_accuracy"] == full.accuracy
        assert rows.loc[trial.number, "retrained_test_accuracy"] == full.test_accuracy
    assert rows["retrained_accuracy"].count() == count
    front = pd.read_csv(run / "pareto.csv")
    on_front = front.set_index("number")["retrained_accuracy"].dropna()
    pd.testing.assert_series_equal(on_front, rows["retrained_accuracy"].loc[on_front.index])
    assert len(on_front) == min(count, len(front))
    return chosen


@pytest.fixture(scope="module")
def retrained(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose two winners were trained in full."""
    run = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("retrained") / "run"))
    assert main(["retrain", str(run), "--top", "2", *FULL]) == 0
    return run


def test_what_winners_reached_stands_beside_what_they_were_scored(
    retrained: Path, check_kept: Callable[[Path], None]
) -> None:
    for trial in check_written(retrained, 2):
        assert trial.retrained is not None
        folder = retrained / trial.retrained.folder
        assert folder.name == f"{trial.number}-quick-0"
        check_kept(folder)
        assert (folder / "model.torchscript.pt").is_file()
        verification = json.loads((folder / "verification.json").read_text())
        assert verification["agrees"] is True
        assert {c["second"] for c in verification["comparisons"]} >= {"condensed", "torchscript"}


def test_a_finished_retraining_is_shown_again(
    retrained: Path, search_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("retrain", str(retrained), "--top", "2", *FULL, "--resume")
    capsys.readouterr()
    found = search_json(*arguments)
    chosen = winners(trials_of(retrained), 2)
    assert [entry["number"] for entry in found] == [trial.number for trial in chosen]
    for entry, trial in zip(found, chosen, strict=True):
        assert trial.score is not None
        assert trial.retrained is not None
        assert entry["searched_accuracy"] == trial.score.accuracy
        assert entry["accuracy"] == trial.retrained.accuracy
        assert entry["folder"] == str(retrained / trial.retrained.folder)
    assert main([*arguments]) == 0
    shown = capsys.readouterr().out
    for entry in found:
        assert f"{entry['searched_accuracy']:.1%}" in shown
        assert f"{entry['test_accuracy']:.1%}" in shown
        assert entry["folder"] in shown


def test_winners_are_not_trained_over(retrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", str(retrained), *FULL]) == 2
    assert "holds a complete training already; add --resume" in capsys.readouterr().err


@pytest.mark.parametrize("inside", [True, False])
def test_winners_may_be_trained_again_elsewhere(
    inside: bool, retrained: Path, search_json: Json, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(retrained, tmp_path / "run"))
    out = run / "again" if inside else tmp_path / "again"
    (entry,) = search_json("retrain", str(run), *FULL, "--epochs", "1", "--out", str(out))
    assert (entry["epochs"], Path(entry["folder"]).parent) == (1, out)
    again = next(trial for trial in trials_of(run) if trial.number == entry["number"])
    assert again.retrained is not None
    assert (run / again.retrained.folder / "result.json").is_file()
    assert Path(again.retrained.folder).is_absolute() is not inside
    assert (run / "retrained").is_dir()


def test_an_interrupted_retraining_goes_on(
    terminate_after: Callable[[int], None],
    finished_run: Path,
    retrained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    arguments = ["retrain", str(run), "--top", "2", *FULL]
    # The first winner takes 18 updates; the second is stopped in its second epoch.
    terminate_after(18 + 12)
    assert main(arguments) == 4
    assert f"go on with: search retrain {run} --top 2 --resume" in capsys.readouterr().err
    assert sum(trial.retrained is not None for trial in trials_of(run)) == 1
    assert len(list(run.glob("retrained/*/checkpoint.pt"))) == 1
    first = next(run.glob("retrained/*/result.json"))
    before = first.stat().st_mtime_ns
    assert main([*arguments, "--resume"]) == 0
    assert first.stat().st_mtime_ns == before
    check_written(run, 2)
    whole = {trial.number: trial.retrained for trial in trials_of(retrained)}
    assert {trial.number: trial.retrained for trial in trials_of(run)} == whole


def test_a_search_ends_with_its_winners_trained(
    search_json: Json, search_arguments: list[str], trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    recipe = trained / "recipe.yaml"  # as written beside weights
    found = search_json(
        *(*search_arguments, "--trials", "2", "--out", str(out)),
        *("--retrain", "2", "--retrain-recipe", str(recipe)),
    )
    for trial in check_written(out, 2):
        assert trial.retrained is not None
        assert trial.retrained.epochs == 3
    for entry in found["pareto"]:
        assert entry["retrained"] == vars(trials_of(out)[entry["number"]].retrained)


def test_the_table_of_a_run_shows_both_accuracies(
    retrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(retrained)]) == 0
    shown = capsys.readouterr().out
    assert "retrained" in shown
    best = winners(trials_of(retrained), 1)[0]
    assert best.score is not None
    assert best.retrained is not None
    assert best.retrained.accuracy is not None
    row = next(line for line in shown.splitlines() if best.proposal.spec.id in line)
    assert f"{best.score.accuracy:.1%}" in row
    assert f"{best.retrained.accuracy:.1%}" in row
    assert f"Trained in full:   {retrained / best.retrained.folder}" in shown


def test_defaults_follow_the_space(finished_run: Path) -> None:
    config = RunConfig.from_settings(RunFolder.open(finished_run).study().settings)
    assert default_recipe(config) == RECIPES["quick"]
    assert default_resolution(config) == 8, "that of the search"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--top", "0"], "--top 0 must be at least 1"),
        (["--recipe", "fast"], "known: condensenet-cifar"),
        (["--format", "tflite"], "unknown format 'tflite'"),
        (["--resolution", "0"], "`resolution` (=0) must be at least 1"),
    ],
)
def test_bad_input_trains_nothing(
    wrong: list[str], sentence: str, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retrain", str(finished_run), *wrong]) == 2
    assert sentence in capsys.readouterr().err
    assert not (finished_run / "retrained").exists()


def test_a_run_without_scores_has_no_winners(
    search_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main([*search_arguments, "--timeout", "1ms", "--out", str(out)]) == 0
    assert main(["retrain", str(out)]) == 2
    assert "has no scored network yet; search first" in capsys.readouterr().err
