"""``search report``: the page of a run."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from latency_models import predict_on
from results.folder import RunFolder
from results.trial import Proposal, Score
from search.cli import main
from search.config import RunConfig
from search.reporting import references
from search_space import ZOO, macs

Json = Callable[..., Any]


@pytest.fixture
def copied(
    finished_run: Path, rung_run: Path, scored_run: Path, tmp_path: Path
) -> Callable[..., Path]:
    """A run's folder that may be written to, by its kind."""
    runs = {"finished": finished_run, "rungs": rung_run, "scored": scored_run}

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(runs[kind], tmp_path / kind))

    return copy


@pytest.fixture
def config(finished_run: Path) -> RunConfig:
    return RunConfig.from_settings(RunFolder.open(finished_run).study().settings)


def test_the_files_stand_in_the_run_s_folder(
    copied: Callable[..., Path], search_json: Json
) -> None:
    run = copied("finished")
    found = search_json("report", str(run))
    assert found["report"] == str(run / "report.html")
    assert all(Path(path).is_file() for path in found["files"])
    assert {"report.html", "report.md", "card.json", "trials.csv"} <= {
        p.name for p in run.iterdir()
    }
    text = (run / "report.html").read_text("utf-8")
    best = pd.read_csv(run / "trials.csv")["accuracy"].max()
    assert f"{best:.1%}" in text
    assert "search run --space" in text
    assert "1.00M MACs" in text


def test_rungs_are_told_where_there_are_some(
    copied: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied("rungs")
    assert main(["report", str(run)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Written:\n")
    assert str(run / "report.html") in shown
    text = (run / "report.md").read_text("utf-8")
    assert "## Rungs" in text
    assert "| 1 | 1 epoch at 8x8 | 5 |" in text
    assert "Rank correlation between rungs" in text


def test_a_run_that_goes_on_says_so(copied: Callable[..., Path], search_json: Json) -> None:
    run = copied("scored")
    search_json("report", str(run))
    text = (run / "report.html").read_text("utf-8")
    assert "This search is not complete: 1 network to be scored yet." in text
    assert "its command was not noted" in text


def test_one_network_is_enough(config: RunConfig, tmp_path: Path, search_json: Json) -> None:
    study = RunFolder.create(tmp_path / "run", None, config.to_settings()).study()
    choices = config.limits.feasible(config.space)
    proposal = Proposal(choices=choices, spec=config.space.decode(choices))
    begun = study.start(config.space, proposal, config.limits.estimate(proposal.spec), {})
    study.complete(begun, Score(accuracy=0.5, loss=1.0, epochs=1, wall_s=1.0))
    search_json("report", str(tmp_path / "run"))
    assert "1 network of the space tiny" in (tmp_path / "run/report.md").read_text("utf-8")


def test_what_has_no_scored_network(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder.create(tmp_path / "run", None, config.to_settings())
    assert main(["report", str(tmp_path / "run")]) == 2
    assert "holds no scored network yet" in capsys.readouterr().err
    assert not (tmp_path / "run" / "report.html").exists()


def test_references_are_the_zoo_s_under_the_run_s_own_predictor(config: RunConfig) -> None:
    found = {one.name: one for one in references(config)}
    assert set(found) == {n for n, spec in ZOO.items() if spec.image_size == 32}
    one, spec = found["condensenet-50"], ZOO["condensenet-50"]
    assert one.macs == macs(spec)
    assert one.latency_ms == predict_on(spec, config.limits.device).ms
    assert one.accuracy is None, "the run's data are not those of the papers"
    assert re.match(r"printed: [\d.]+ ?% top-1 error on cifar10", one.printed)


def test_printed_accuracies_are_those_of_the_run_s_data(config: RunConfig) -> None:
    known = references(dataclasses.replace(config, data="cifar10:/somewhere"))
    accuracies = {one.name: one.accuracy for one in known}
    assert accuracies["condensenet-50"] == pytest.approx(1 - 0.0622)


def test_a_search_under_way_keeps_its_files_to_itself(
    copied: Callable[..., Path], search_json: Json
) -> None:
    run = copied("finished")
    (run / "trials.csv").write_text("of the search")
    (run / "card.json").write_text("of the search")
    with RunFolder.open(run).locked():
        search_json("report", str(run))
    assert (run / "trials.csv").read_text("utf-8") == "of the search"
    assert (run / "card.json").read_text("utf-8") == "of the search"
    assert (run / "report.html").is_file()


def test_a_report_goes_where_it_is_to(
    copied: Callable[..., Path], tmp_path: Path, search_json: Json
) -> None:
    run, out = copied("finished"), tmp_path / "a" / "b"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    found = search_json("report", str(run), "--out", str(out))
    assert found["report"] == str(out / "report.html")
    links = re.findall(r'href="([^"#]+)"', (out / "report.html").read_text("utf-8"))
    assert links
    assert all((out / link).exists() for link in links)
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert after == before, "a folder that cannot be written is enough"


def test_a_folder_that_cannot_be_written_is_named(
    copied: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["report", str(copied("finished")), "--out", str(tmp_path / "file" / "x")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
