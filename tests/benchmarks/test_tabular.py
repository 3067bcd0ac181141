"""Searches of a made-up table: four networks wide, three costs apart."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.table import Row, Table, TableSpace
from benchmarks.tabular import Course, main, summarise
from search_space.errors import SpecError, UserError
from searchers import SEARCHERS

HEADER = "x_kind,x_width,x_same,acc,c_ms,c_macs_m,p_score,origin"
# kind 1 costs most and kind 2 least, so that kinds are labels; wider is dearer and better.
KIND_MS = {0: 2.0, 1: 3.0, 2: 1.0}


def line(kind: int, width: int) -> str:
    accuracy = 50 + 8 * width - width**2 + 3 * (kind == 2) - 2 * (kind == 0)
    ms = KIND_MS[kind] * (1 + width)
    score = "-inf" if width == 0 else str(width)
    return f"{kind},{width},7,{accuracy},{ms},{10 * ms},{score},made up"


LINES = [line(kind, width) for kind, width in itertools.product(range(3), range(5))]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A table's file."""

    def written(lines: list[str] = LINES, header: str = HEADER) -> Path:
        path = tmp_path / "table.csv"
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return path

    return written


@pytest.fixture
def space(write: Callable[..., Path]) -> TableSpace:
    return TableSpace(Table(write()))


def arguments(path: Path, **changes: str) -> list[str]:
    given = {"cost": "c_ms", "reference": "40,20", "trainings": "15", "seeds": "2"} | changes
    return [str(path), *itertools.chain(*([f"--{k}", v] for k, v in given.items())), "--json"]


# --- The space --------------------------------------------------------------------------------


def test_columns_that_vary_are_dimensions_and_sizes_are_ordered(space: TableSpace) -> None:
    assert [(d.name, d.choices, d.ordered) for d in space.dimensions] == [
        ("x_kind", (0, 1, 2), False),
        ("x_width", (0, 1, 2, 3, 4), True),
    ]


def test_choices_and_rows_are_each_others_inverse(space: TableSpace) -> None:
    rng = np.random.default_rng(0)
    rows = [space.decode(space.sample(rng)) for _ in range(200)]
    assert all(space.decode(space.encode(row)) == row for row in rows)
    assert {row.index for row in rows} == set(range(15))
    assert space.decode({"x_kind": 1, "x_width": 2}) == Row(index=7, id="1-2")


def test_a_combination_that_no_row_has_is_no_network(write: Callable[..., Path]) -> None:
    space = TableSpace(Table(write(LINES[:-1])))
    with pytest.raises(SpecError, match=r"no row has the choices \(2, 4\)"):
        space.decode({"x_kind": 2, "x_width": 4})


def test_a_network_twice_is_an_error(write: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="rows 1 and 16 have the same choices"):
        TableSpace(Table(write([*LINES, LINES[0]])))


# --- The figures ------------------------------------------------------------------------------


def test_medians_are_over_searches_and_missing_where_most_do_not_arrive() -> None:
    courses = [
        Course(
            shares=np.array(shares),
            regrets=np.array([3.0, regret]),
            suggestion_s=np.zeros(2),
        )
        for shares, regret in (([0.5, 0.96], 0.0), ([0.9, 0.97], 1.0), ([0.2, 0.8], 5.0))
    ]
    found = summarise(courses, limited=True)
    assert found["hypervolume"] == {"2": 0.96}
    assert found["trainings_to"] == {"0.90": 2.0, "0.95": 2.0, "0.99": None}
    assert found["regret"] == {"2": 1.0}


@pytest.mark.parametrize("name", ["random", "condense", "optuna:tpe"])
def test_a_search_of_every_row_finds_everything(
    name: str, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(write(), limit="c_macs_m=100"), "--searcher", name]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["hypervolume"] == {"15": pytest.approx(1.0)}
    assert found["regret"] == {"15": 0.0}
    assert all(1 <= n <= 15 for n in found["trainings_to"].values())


def test_aiming_at_accuracy_finds_the_best_inside_a_limit_sooner(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for widths in itertools.product(range(4), repeat=4):
        ms = 1 + sum(widths)
        accuracy = 50 + 9 * np.log(ms) + ((7 * widths[0] + 3 * widths[1]) % 5) / 2
        lines.append(f"{','.join(map(str, widths))},{accuracy},{ms}")
    path = write(lines, "x_a,x_b,x_c,x_d,acc,c_ms")
    regrets = {}
    for aim in ("front", "accuracy"):
        asked = arguments(path, limit="c_ms=10", reference="40,11", trainings="12", seeds="5")
        assert main([*asked, "--searcher", "condense", "--aim", aim]) == 0
        regrets[aim] = json.loads(capsys.readouterr().out)["regret"]["12"]
    assert regrets["accuracy"] < regrets["front"]


def test_side_scores_can_be_hidden(
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[set[str]] = []

    def recording(space: Any, admission: Any, seed: int) -> Any:
        seen.append(set(admission.known(Row(index=3, id="")).inputs))
        return random(space, admission, seed)

    random = SEARCHERS["random"]
    monkeypatch.setitem(SEARCHERS, "random", recording)
    for side in ([], ["--no-side"]):
        assert main([*arguments(write(), seeds="1"), "--searcher", "random", *side]) == 0
    assert seen == [{"c_ms", "c_macs_m", "p_score"}, {"c_ms", "c_macs_m"}]


# --- Input that cannot be used ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cost": "c_ns"}, "unknown column of .* 'c_ns'"),
        ({"accuracy": "p_score"}, r"`p_score` \(=-inf\) of row 1 is infinite"),
        ({"reference": "40"}, "must be an accuracy and a cost"),
        ({"reference": "40,nan"}, "'nan' must be a number"),
        ({"reference": "99,20"}, "no row inside is better"),
        ({"limit": "c_ms"}, "must be a column and a positive number"),
        ({"limit": "c_ms=few"}, "'few' must be a number"),
        ({"limit": "c_ms=0.5"}, "no row is inside"),
        ({"trainings": "0"}, "--trainings '0' must be a whole number of at least 1"),
        ({"seeds": "two"}, "--seeds 'two' must be"),
        ({"searcher": "guess"}, "unknown searcher 'guess'"),
    ],
)
def test_wrong_arguments_are_one_line(
    changes: dict[str, str],
    message: str,
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments(write(), **changes)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    with pytest.raises(UserError, match=message):
        raise UserError(said.err)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no networks"),
        (["0,0,7,fifty,1,1,1,x"], r"`acc` \(='fifty'\) of row 1 must be a number"),
        (["0,0,7,nan,1,1,1,x"], "`acc`"),
        (["0.5,0,7,50,1,1,1,x"], r"`x_kind` \(='0.5'\) of row 1 must be a whole number"),
        (["0,0,7,50,1,1,1"], "row 1 has 7 values, the header 8"),
    ],
)
def test_wrong_tables_are_one_line(
    lines: list[str],
    message: str,
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments(write(lines))) == 2
    with pytest.raises(UserError, match=message):
        raise UserError(capsys.readouterr().err)


def test_a_file_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path / "absent.csv")) == 2
    assert "cannot be read as a table" in capsys.readouterr().err
