"""The Python that README and docs show, run from its pages: above all, how to add something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from search.cli import main
from search_space import BLOCKS, DenseStage, NetworkSpec, StemSpec
from searchers import SEARCHERS
from trainers.data import DATASETS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/extending").glob("*.md"))


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """What a page adds is there while it runs."""
    before = [(registry, dict(registry)) for registry in (BLOCKS, DATASETS, SEARCHERS)]
    yield
    for registry, members in before:
        registry.clear()
        registry.update(members)


def code(page: Path) -> str:
    """The Python of a page, with the line numbers that it has there."""
    text = page.read_text("utf-8")
    lines = [""] * text.count("\n")
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S):
        start = text.count("\n", 0, block.start(1))
        inside = block[1].splitlines()
        lines[start : start + len(inside)] = inside
    return "\n".join(lines).rstrip()


def run(page: Path) -> str:
    """What a page shows, run; raises what it raises."""
    example = code(page)
    exec(compile(example, page, "exec", dont_inherit=True), {"__name__": "example"})
    return example


OTHERS = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if code(page)
]


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder with what the tutorial exports, untrained, and a photograph."""
    pytest.importorskip("onnxruntime")
    Image.new("RGB", (300, 240), "teal").save(tmp_path / "photo.jpg")
    stage = DenseStage(depth=1, growth_rate=4)
    spec = NetworkSpec(image_size=32, classes=10, stem=StemSpec(channels=8), stages=(stage,))
    (tmp_path / "small.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    out = ["--exporter", "direct", "--out", str(tmp_path / "exported")]
    assert main(["export", str(tmp_path / "small.yaml"), "--format", "onnx", *out]) == 0
    return tmp_path


def test_there_is_a_page_for_each() -> None:
    assert {page.stem for page in PAGES} == {"block", "data-set", "device", "searcher"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert re.search(r"^ *assert ", run(page), re.M), "it shows that it works"


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.stem)
def test_other_python_that_is_shown_works(
    page: Path, exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(exported)
    shown = run(page)
    assert bool(capsys.readouterr().out) == ("print(" in shown)
