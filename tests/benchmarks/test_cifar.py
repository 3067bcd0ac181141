"""The comparison on CIFAR-10: what was trained is what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cifar.table import table
from search_space import NetworkSpec
from search_space.found import FOUND

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_table_of_what_was_trained() -> None:
    printed = table()
    assert "condensenetv2-20" in printed
    assert printed.strip() in (ROOT / "docs/cifar.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FOUND)
def test_the_zoo_has_what_the_search_wrote(name: str) -> None:
    written = NetworkSpec.load(ROOT / f"benchmarks/networks/{name}.yaml")
    assert FOUND[name].id == written.id
