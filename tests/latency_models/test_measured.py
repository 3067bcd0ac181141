"""Tables of times measured on a board, and broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from latency_models import device
from latency_models.measured import read_measured
from latency_models.predict import DEFAULT_DEVICE
from search_space.errors import UserError

BASE = device(DEFAULT_DEVICE)


def table(folder: Path, text: str) -> Path:
    path = folder / "measured.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_of_names_and_times_is_of_the_base(tmp_path: Path) -> None:
    found = read_measured(table(tmp_path, "network,ms\na,1.5\nb,2\n"), BASE)
    assert (found.ms, found.runtime, found.threads) == ({"a": 1.5, "b": 2.0}, "ncnn", 1)


def test_rows_of_one_runtime_and_number_of_threads_are_read(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "network,runtime,threads,ms,machine\n"
        "a,ncnn,1,1,Board\na,ncnn,4,2,Board\na,onnxruntime,1,3,Board\n",
    )
    found = read_measured(path, BASE)
    assert (found.ms, found.core) == ({"a": 1.0}, "Board")
    assert read_measured(path, BASE, threads=4).ms == {"a": 2.0}
    other = read_measured(path, BASE, runtime="onnxruntime")
    assert (other.ms, other.runtime, other.threads) == ({"a": 3.0}, "onnxruntime", 1)


def test_the_only_runtime_of_a_table_is_read_whatever_the_base_is(tmp_path: Path) -> None:
    path = table(tmp_path, "network,runtime,threads,ms\na,onnxruntime,2,3\n")
    found = read_measured(path, BASE)
    assert (found.ms, found.runtime, found.threads) == ({"a": 3.0}, "onnxruntime", 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("network,ms\n", "holds no time"),
        ("network,ms\na,\n", "holds no time"),
        ("net,ms\na,1\n", "lacks the columns network"),
        ("network,ms\na,-1\n", r"`ms` \(='-1'\) of a must be milliseconds above 0"),
        ("network,ms\na,1\na,2\n", "a has two rows with `ms`"),
        ("network,ms,runtime\na,1,x\nb,2,y\n", "no row of runtime ncnn, but of x, y; name one"),
        ("network,ms,threads\na,1,two\n", r"`threads` \(='two'\) must be a whole number"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_measured(table(tmp_path, text), BASE)
