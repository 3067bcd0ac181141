"""Records in CSV files: every figure comes back, and what is not a record is named."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest

from results.metrics import columns, read_rows, write_rows
from results.sweep import SweepRow
from results.trial import EpochRow, StepRow
from search_space import UserError

STEP = StepRow(step=7, progress=0.1, learning_rate=1e-5, loss=1 / 3, density=0.625)
EPOCH = EpochRow(
    epoch=1,
    step=14,
    learning_rate=0.05,
    train_loss=2.302585092994046,
    train_top1=0.1,
    val_loss=2.25,
    val_top1=0.125,
    val_top5=0.5,
    density=1.0,
    images_per_s=812.5,
    wall_s=3.0,
)
UNVALIDATED = dataclasses.replace(EPOCH, epoch=2, val_loss=None, val_top1=None, val_top5=None)


def test_records_come_back_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    steps = [STEP, dataclasses.replace(STEP, step=14, loss=0.1 + 0.2, progress=1.0)]
    write_rows(path, steps)
    assert read_rows(path, StepRow) == steps
    assert path.read_text(encoding="utf-8").splitlines() == [
        "step,progress,learning_rate,loss,density",
        "7,0.1,1e-05,0.3333333333333333,0.625",
        "14,1.0,1e-05,0.30000000000000004,0.625",
    ]


def test_none_is_an_empty_cell(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_rows(path, [EPOCH, UNVALIDATED])
    assert read_rows(path, EpochRow) == [EPOCH, UNVALIDATED]
    frame = pd.read_csv(path)
    assert list(frame.columns) == columns(EpochRow)
    assert frame["val_top1"].isna().tolist() == [False, True]


def test_words_come_back(tmp_path: Path) -> None:
    row = SweepRow(
        network="condensenet-50, a",
        variation="groups",
        value="4",
        seed=1,
        macs=28_000_000,
        params=220_000,
        top1=0.9,
        top5=0.99,
        loss=0.3,
        epochs=300,
        wall_s=12.5,
        split="test",
    )
    path = tmp_path / "sweep.csv"
    write_rows(path, [row])
    assert read_rows(path, SweepRow) == [row]
    path.write_text(path.read_text().replace(",test", ",training"))
    with pytest.raises(UserError, match=r"`split` \(='training'\) must be one of test, validation"):
        read_rows(path, SweepRow)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_diverged_comes_back(tmp_path: Path, loss: float) -> None:
    write_rows(tmp_path / "steps.csv", [dataclasses.replace(STEP, loss=loss)])
    (found,) = read_rows(tmp_path / "steps.csv", StepRow)
    assert str(found.loss) == str(loss)


def test_no_records_are_a_file_too(tmp_path: Path) -> None:
    write_rows(tmp_path / "steps.csv", [])
    assert read_rows(tmp_path / "steps.csv", StepRow) == []


def test_a_file_is_replaced_and_nothing_else_left(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    write_rows(path, [STEP, STEP])
    write_rows(path, [STEP])
    assert read_rows(path, StepRow) == [STEP]
    assert [p.name for p in tmp_path.iterdir()] == ["steps.csv"]


HEADER = "step,progress,learning_rate,loss,density\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the columns must be step,progress,learning_rate,loss,density, not ''"),
        (b"step,loss\n1,2\n", "not 'step,loss'; name a file of StepRow records"),
        (f"{HEADER}1,0.5,0.1,2.0,1.0\n2,1.0,0.1\n".encode(), "record 2: has 3 cells and must"),
        (
            f"{HEADER}1,half,0.1,2.0,1.0\n".encode(),
            r"record 1: `progress` \(='half'\) must be .*fl",
        ),
        (f"{HEADER}1.5,0.5,0.1,2.0,1.0\n".encode(), r"`step` \(='1\.5'\) must be of type int"),
        (f"{HEADER}1,0.5,,2.0,1.0\n".encode(), r"`learning_rate` \(=''\) must be of type float"),
        (f'{HEADER}1,"0.5'.encode(), "cannot be read as CSV"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
    ],
)
def test_what_holds_no_such_records_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "steps.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read_rows(path, StepRow)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"steps\.csv: cannot be read"):
        read_rows(tmp_path / "steps.csv", StepRow)
