"""The commands that look at results, run as README and docs show them."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from search.cli import main

ROOT = Path(__file__).parents[2]
LOOKING = "compare|best|list|status"
SHOWN = [
    *re.findall(
        rf"^(?:\$ )?(search (?:{LOOKING})\b[^#\n]*)",
        (ROOT / "docs/results.md").read_text("utf-8"),
        re.M,
    ),
    *re.findall(rf"`(search (?:{LOOKING})\b[^`]*)`", (ROOT / "README.md").read_text("utf-8")),
]


def test_each_of_these_commands_is_shown() -> None:
    assert {shlex.split(line)[1] for line in SHOWN} == set(LOOKING.split("|"))
    assert len(SHOWN) == 13


@pytest.mark.parametrize("line", dict.fromkeys(map(str.strip, SHOWN)))
def test_what_is_shown_works(
    line: str,
    scored_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(scored_run, tmp_path / "runs" / "NAME")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out


def test_the_comparison_is_the_one_that_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """But for milliseconds and what is said of them, which change with the devices."""

    def steady(text: str) -> list[str]:
        cells = (
            re.split(" *[│┃] *", line) for line in text.splitlines() if line.startswith(("│", "┃"))
        )
        return [" | ".join(row) for row in cells if not row[1].startswith("ms on")]

    shown = (ROOT / "docs/results.md").read_text("utf-8")
    assert main(["compare", "condensenetv2-b", "shufflenetv2-x1.0", "sparsenet-121"]) == 0
    assert steady(capsys.readouterr().out) == steady(shown)
