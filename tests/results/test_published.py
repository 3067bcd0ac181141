"""The papers' tables: what is in the file, and that the project counts what they print."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from results.published import METRICS, PAPERS, Published, published, published_of
from search_space import ZOO, cost
from search_space.budget import SUFFIXES

ROWS = {
    ("condensenet", "1"): 8,
    ("condensenet", "2"): 10,
    ("condensenet", "4"): 8,
    ("condensenet", "5"): 5,
    ("condensenet-readme", "CIFAR"): 7,
    ("condensenetv2", "3"): 8,
    ("condensenetv2", "4"): 4,
    ("condensenetv2", "5"): 24,
    ("condensenetv2", "6"): 9,
    ("condensenetv2", "7"): 11,
    ("condensenetv2", "14"): 28,
    ("condensenetv2", "15"): 13,
    ("sparsenet", "2"): 23,
    ("sparsenet", "3 left"): 10,
    ("sparsenet", "3 right"): 10,
    ("sparsenet", "4"): 10,
}
"""How many rows each table has."""

COUNTS = [f for f in published() if f.network and f.metric in ("flops", "params")]


def identity(figure: Published) -> str:
    return f"{figure.paper} {figure.table}.{figure.row} {figure.network} {figure.metric}"


def ours(figure: Published) -> Decimal:
    """The same count of the zoo's network, by the counter of the paper, in the figure's unit."""
    # SparseNet prints two operations per multiply-add, of others' networks, too.
    twice = figure.paper == "sparsenet" and figure.metric == "flops"
    priced = cost(ZOO[figure.network], convention="twice" if twice else None)
    count = priced.paper_flops if figure.metric == "flops" else priced.paper_params
    return count / Decimal(SUFFIXES[figure.unit])


def test_every_row_of_every_table_is_there() -> None:
    rows = {(f.paper, f.table, f.row) for f in published()}
    assert Counter((paper, table) for paper, table, _ in rows) == ROWS
    for (paper, table), number in ROWS.items():
        found = [f.row for f in published() if (f.paper, f.table) == (paper, table)]
        assert found == sorted(found)
        assert set(found) == set(range(1, number + 1))


def test_a_row_is_of_one_model_and_prints_a_figure_once() -> None:
    rows = {(f.paper, f.table, f.row): (f.model, f.network) for f in published()}
    assert all(rows[f.paper, f.table, f.row] == (f.model, f.network) for f in published())
    cells = [(f.paper, f.table, f.row, f.metric, f.dataset) for f in published()]
    assert len(set(cells)) == len(cells)


def test_figures_are_of_what_they_say() -> None:
    for figure in published():
        units = {"flops": "MG", "params": "M", "time": ("s", "ms")}.get(figure.metric, "%")
        assert figure.unit in units, figure
        assert figure.dataset in ("cifar", "cifar10", "cifar100", "imagenet", "coco"), figure
        assert (figure.metric in METRICS, figure.paper in PAPERS) == (True, True), figure
        assert figure.network in ("", *ZOO), figure
        assert 0 < figure.value < (100 if figure.unit == "%" else 20_000), figure


@pytest.mark.parametrize("figure", COUNTS, ids=identity)
def test_the_project_counts_what_is_printed_or_it_is_said_why_not(figure: Published) -> None:
    # Papers round up as well as down: the printed figure is one of the two neighbours.
    agrees = abs(ours(figure) - figure.value) < figure.printed_digit
    assert agrees == (figure.differs == ""), ours(figure)


def test_only_counts_of_the_zoo_are_held_against_ours() -> None:
    assert not [f for f in published() if f.differs and f not in COUNTS]
    assert len(COUNTS) == 151
    assert sum(f.differs != "" for f in COUNTS) == 45


def test_figures_that_everybody_knows() -> None:
    assert [str(f) for f in published_of("condensenetv2-b") if f.table == "5"] == [
        *("146M", "3.6M"),
        *("28.1 %", "9.7 %"),
    ]
    times = {f.network: str(f) for f in published() if f.metric == "time" and f.network}
    assert (times["condensenet-c"], times["sparsenet-121"]) == ("0.99 s", "13.5 ms")
    (light,) = [f for f in published_of("condensenet-light-94") if f.metric == "params"]
    assert (light.paper, light.table, light.row) == ("condensenet", "2", 9)
    assert light.printed_digit == Decimal("0.01")
    assert published_of("condensenetv2-c-without-sfr") == []
