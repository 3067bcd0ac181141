"""The search card that every run's folder has."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from results.folder import RunFolder
from results.rungs import correlate_rungs
from search.config import RunConfig


def test_a_run_has_a_card_from_which_it_can_be_run_again(finished_run: Path) -> None:
    card = json.loads((finished_run / "card.json").read_text("utf-8"))
    study = RunFolder.open(finished_run).study()
    assert RunConfig.from_settings(card["settings"]) == RunConfig.from_settings(study.settings)
    assert card["states"] == {"complete": 4, "running": 0, "failed": 0}
    assert card["rejected"] == study.rejected
    assert card["limits"] == "1.00M MACs"
    trials = pd.read_csv(finished_run / "trials.csv")
    assert abs(card["training_s"] - trials["wall_s"].sum()) < 1e-6
    assert study.sessions[0].command_line in (finished_run / "card.md").read_text("utf-8")


def test_the_card_of_a_run_with_rungs(rung_run: Path) -> None:
    card = json.loads((rung_run / "card.json").read_text("utf-8"))
    trials = RunFolder.open(rung_run).study().trials()
    assert card["trainings"] == ["1 epoch at 8x8", "2 epochs at 8x8"]
    (expected,), (found,) = correlate_rungs(trials), card["correlations"]
    assert (found["lower"], found["spearman"]) == (1, expected.spearman)
    seconds = sum(score.wall_s for trial in trials for score in trial.rungs)
    assert abs(card["training_s"] - seconds) < 1e-6
