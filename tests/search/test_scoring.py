"""`search scores`: a run's networks ordered before training, beside what training showed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from search.cli import main
from search.scoring import DEFAULT_BATCH
from trainers import zero_cost

Json = Callable[..., Any]
BATCH = ("--batch", "16")


@pytest.fixture(scope="module")
def random_run(search_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with six random networks."""
    out = tmp_path_factory.mktemp("runs") / "random"
    options = ["--searcher", "random", "--trials", "6", "--out", str(out)]
    assert main([*search_arguments, *options]) == 0
    return out


def test_scores_are_written_and_ranked(random_run: Path, search_json: Json, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    found = search_json("scores", str(random_run), *BATCH, "--out", str(out))
    assert (found["networks"], found["searcher"], found["epochs"]) == (6, "random", 1)
    assert found["training_wall_s"] > 0
    names = [row["score"] for row in found["scores"]]
    assert names == [*zero_cost.ZERO_COST, "macs", "params", "latency_ms"]
    frame = pd.read_csv(out)
    assert len(frame) == 6 * len(zero_cost.ZERO_COST)
    assert frame["value"].notna().all()
    trials = pd.read_csv(random_run / "trials.csv").set_index("number")
    for row in found["scores"]:
        if row["score"] in zero_cost.ZERO_COST:
            values = frame[frame["score"] == row["score"]].set_index("trial")["value"]
        else:
            values = trials[row["score"]]
        expected = values.corr(trials["accuracy"], method="spearman")
        assert row["spearman"]["value"] == pytest.approx(expected)
        assert row["spearman"]["low"] <= row["spearman"]["value"] <= row["spearman"]["high"]


def test_a_table_is_printed(random_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scores", str(random_run), *BATCH]) == 0
    printed = capsys.readouterr().out
    assert "naswot" in printed
    assert "95 % intervals" in printed
    assert f"Scores: {random_run / 'scores.csv'}" in printed.replace("\n", "")
    assert "less of the space" not in printed


def test_it_goes_on_where_it_was_left(
    random_run: Path,
    search_json: Json,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    expected = search_json("scores", str(random_run), *BATCH, "--out", str(whole))
    calls: list[str] = []
    compute = zero_cost.zero_cost_scores

    def interrupted(*args: Any, scores: list[str], **more: Any) -> dict[str, float]:
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.extend(scores)
        return compute(*args, scores=scores, **more)

    command = ["scores", str(random_run), *BATCH, "--out", str(part)]
    with monkeypatch.context() as patch:
        patch.setattr(zero_cost, "zero_cost_scores", interrupted)
        assert main(command) == 4
    assert "the same command goes on" in capsys.readouterr().err
    before = pd.read_csv(part)
    assert len(before) == 5
    found = search_json(*command)
    pd.testing.assert_frame_equal(pd.read_csv(part)[:5], before)
    for a, b in zip(found["scores"], expected["scores"], strict=True):
        assert (a["spearman"], a["kendall"], a["given_macs"]) == (
            b["spearman"],
            b["kendall"],
            b["given_macs"],
        )


def test_a_network_without_a_score_is_left_out(
    random_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search_json: Json
) -> None:
    def fails_once(network: Any, images: Any, labels: Any) -> float:
        return float("nan") if next(left, False) else float(images.sum())

    left = iter([True])
    monkeypatch.setattr(zero_cost, "ZERO_COST", {"mine": fails_once})
    out = tmp_path / "scores.csv"
    found = search_json("scores", str(random_run), *BATCH, "--out", str(out))["scores"][0]
    assert (found["score"], found["networks"]) == ("mine", 5)
    # One batch, whatever the network.
    assert found["spearman"] is None
    assert pd.read_csv(out)["value"].isna().sum() == 1


def test_what_cannot_be_ranked_is_refused(
    finished_run: Path, random_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        assert main(["scores", *arguments]) == 2
        return capsys.readouterr().err

    assert "holds no run" in refused(str(tmp_path))
    assert "holds 4 trained networks; an order needs at least 5" in refused(str(finished_run))
    assert "--seed -1 must be at least 0" in refused(str(random_run), "--seed", "-1")
    out = tmp_path / "other.csv"
    assert "`batch_size` (=1)" in refused(str(random_run), "--batch", "1", "--out", str(out))
    out.write_text("name\nvalue\n", encoding="utf-8")
    assert "the columns must be" in refused(str(random_run), "--out", str(out))


def test_the_default_batch_is_that_of_the_scores() -> None:
    assert DEFAULT_BATCH == zero_cost.BATCH
