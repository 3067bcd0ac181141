"""The comparison on CIFAR-10: what was trained is what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cifar.plan import NETWORKS
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
