"""What a sweep sums up to: means, standard deviations, tables and files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from results.metrics import columns, read_rows
from results.sweep import LABEL, SweepRow, summary_frame, summary_markdown, sweep_frame, write_sweep
from search_space import UserError


def row(value: str, seed: int, top1: float, macs: int = 30_000_000) -> SweepRow:
    return SweepRow(
        network="condensenet-50",
        variation="groups",
        value=value,
        seed=seed,
        macs=macs,
        params=220_000,
        top1=top1,
        top5=0.99,
        loss=0.3,
        epochs=300,
        wall_s=12.5,
        split="test",
    )


ROWS = [
    row("8", 0, 0.90),
    row("4", 0, 0.94, 50_000_000),
    row("8", 1, 0.92),
    row("8", 2, 0.94),
]


def test_a_row_per_training() -> None:
    frame = sweep_frame(ROWS)
    assert list(frame.columns) == columns(SweepRow)
    assert frame["top1"].tolist() == [0.90, 0.94, 0.92, 0.94]
    assert list(sweep_frame([]).columns) == columns(SweepRow)


def test_a_row_per_label_with_mean_and_standard_deviation() -> None:
    summary = summary_frame(ROWS)
    assert summary["value"].tolist() == ["8", "4"]
    assert summary["seeds"].tolist() == [3, 1]
    assert summary["macs"].tolist() == [30_000_000, 50_000_000]
    assert summary["error_percent"].tolist() == pytest.approx([8.0, 6.0])
    assert summary["sd_percent"][0] == pytest.approx(2.0), "of 10, 8 and 6 with n - 1"
    assert summary["sd_percent"].isna().tolist() == [False, True]


@pytest.mark.parametrize("field", LABEL)
def test_only_trainings_of_one_label_are_averaged(field: str) -> None:
    other = {"split": "validation", "epochs": 1, "macs": 2, "params": 3}.get(field, "other")
    rows = [ROWS[0], dataclasses.replace(ROWS[2], **{field: other})]
    assert summary_frame(rows)["seeds"].tolist() == [1, 1]


def test_a_seed_counts_once() -> None:
    with pytest.raises(UserError, match=r"seed 1 of condensenet-50, groups 8, appears twice"):
        summary_frame([*ROWS, row("8", 1, 0.5)])


def test_nothing_sums_up_to_nothing() -> None:
    summary = summary_frame([])
    assert list(summary.columns) == [*LABEL, "seeds", "error_percent", "sd_percent"]
    assert len(summary) == 0


def test_files_hold_the_rows_and_the_summary(tmp_path: Path) -> None:
    write_sweep(ROWS, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"sweep.csv", "summary.csv"}
    assert read_rows(tmp_path / "sweep.csv", SweepRow) == ROWS
    summary = pd.read_csv(tmp_path / "summary.csv", dtype={"value": str})
    pd.testing.assert_frame_equal(summary, summary_frame(ROWS), check_dtype=False)
    assert (tmp_path / "summary.csv").read_text().splitlines()[2].endswith(","), (
        "empty for one seed"
    )


def test_a_table_for_documents() -> None:
    rows = [*ROWS, dataclasses.replace(row("a|b", 0, 0.5), network="other", params=1_500_000)]
    assert summary_markdown(rows).splitlines() == [
        "| network | variation | value | MACs | parameters | error (%) | seeds | epochs |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| condensenet-50 | groups | 8 | 30.00M | 220.00K | 8.00 ± 2.00 | 3 | 300 |",
        "| condensenet-50 | groups | 4 | 50.00M | 220.00K | 6.00 | 1 | 300 |",
        r"| other | groups | a\|b | 30.00M | 1.50M | 50.00 | 1 | 300 |",
    ]
