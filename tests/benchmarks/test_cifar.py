"""The comparison on CIFAR-10: work is shared, and what was trained is what the page shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.cifar import search
from benchmarks.cifar.agree import ScoreRow
from benchmarks.cifar.jobs import add_row, claimed, rows_of
from benchmarks.cifar.plan import NETWORKS, SEARCHES
from benchmarks.cifar.search import command
from benchmarks.cifar.table import table
from benchmarks.cifar.train import trained
from search_space import NetworkSpec
from search_space.found import FOUND

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_table_of_what_was_trained() -> None:
    printed = table()
    assert "condensenetv2-20" in printed
    assert printed.strip() in (ROOT / "docs/cifar.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("id_", trained())
def test_what_was_trained_is_the_network_of_that_name(id_: str) -> None:
    files = {NETWORKS / f"{row.network}.yaml" for row in trained()[id_]}
    assert [NetworkSpec.load(file).id for file in files] == [id_]


@pytest.mark.parametrize("name", FOUND)
def test_the_zoo_has_what_the_search_wrote(name: str) -> None:
    written = NetworkSpec.load(NETWORKS / f"{name}.yaml")
    assert FOUND[name].id == written.id


def test_a_job_is_one_processes_until_it_ends(tmp_path: Path) -> None:
    table_ = tmp_path / "table.csv"
    with (
        claimed(table_, "a") as first,
        claimed(table_, "a") as second,
        claimed(table_, "b") as other,
    ):
        assert (first, second, other) == (True, False, True)
    with claimed(table_, "a") as again:
        assert again


def test_rows_of_several_writers_are_all_kept(tmp_path: Path) -> None:
    rows = [ScoreRow(id=str(n), score="epochs=1", value=n / 40) for n in range(40)]
    table_ = tmp_path / "results/table.csv"
    assert rows_of(table_, ScoreRow) == []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: add_row(table_, row), rows))
    assert sorted(rows_of(table_, ScoreRow), key=lambda row: row.value) == rows


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_was_left_goes_on(name: str, tmp_path: Path) -> None:
    begun = command(name, "digits", 52, tmp_path)
    assert begun[3:5] == ["run", "--space"]
    assert str(tmp_path) in begun
    (tmp_path / "run.yaml").touch()
    assert command(name, "digits", 52, tmp_path)[3:5] == ["resume", str(tmp_path)]


@pytest.mark.parametrize("name", SEARCHES)
def test_what_was_found_is_not_overwritten(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / f"{name}.yaml").touch()
    monkeypatch.setattr(search, "NETWORKS", tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["search", name, "--data", "digits", "--out", f"{tmp_path}/new"]
    )
    with pytest.raises(SystemExit) as ended:
        search.main()
    assert ended.value.code == 2
    assert "a name of its own" in capsys.readouterr().err
