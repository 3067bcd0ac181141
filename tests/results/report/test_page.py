"""The page, read and opened in a browser."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from results.report import Report, write_report

ReportOf = Callable[..., Report]
Browse = Callable[..., "subprocess.CompletedProcess[str]"]
HOSTILE = "<script>alert('x')</script>\"&$x_1$"
ACCENT = {"light": (0x0B, 0x6A, 0xA8), "dark": (0x5C, 0xB3, 0xEE)}
PAPER = {"light": (0xFF, 0xFF, 0xFF), "dark": (0x14, 0x17, 0x1A)}
TOUCH = """
<script>
const mark = document.querySelector("figure svg [data-key='trial-3']");
const {x, y, width, height} = mark.getBoundingClientRect();
mark.dispatchEvent(new PointerEvent("pointermove",
  {clientX: x + width / 2, clientY: y + height / 2, bubbles: true}));
</script>
</body>"""


@pytest.fixture
def written(report: ReportOf, tmp_path: Path) -> Callable[..., Path]:
    """The page of a report with some fields replaced."""

    def write(**changes: object) -> Path:
        write_report(report(**changes), tmp_path)
        return tmp_path / "report.html"

    return write


def test_the_page_needs_no_network(written: Callable[..., Path]) -> None:
    text = written().read_text("utf-8")
    assert not re.findall(r"(?:src|@import|url\((?!#))", text)
    links = set(re.findall(r'href="([^"#]+)"', text))
    assert links == {"report.md", "trials.csv", "pareto.csv", "card.md", "card.json", "figures/"}
    names = set(re.findall(r"https?://[^\"'\s<]+", text))
    assert names == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_text_of_the_study_is_escaped(report: ReportOf, written: Callable[..., Path]) -> None:
    made = report()
    failed = dataclasses.replace(made.trials[-1], failure=HOSTILE)
    session = dataclasses.replace(made.card.sessions[0], command=("search", HOSTILE))
    references = [dataclasses.replace(r, name=HOSTILE) for r in made.references]
    card = dataclasses.replace(
        made.card, study=HOSTILE, limits=HOSTILE, sessions=[session], rejected={HOSTILE: 1}
    )
    page = written(
        card=card,
        trials=[*made.trials[:-1], failed],
        device=HOSTILE,
        cautions=[HOSTILE],
        references=references,
    )
    text = page.read_text("utf-8")
    assert "<script>alert" not in text
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert text.count("&lt;script&gt;alert") >= 8
    tips = re.search(r'id="tips">(.*?)</script>', text)
    assert tips is not None
    assert HOSTILE in json.loads(tips[1])[f"reference-{HOSTILE}"]


def test_what_is_missing_is_said(report: ReportOf, written: Callable[..., Path]) -> None:
    made = report()
    page = written(
        trials=made.trials[:1],
        remaining=dataclasses.replace(made.remaining, networks=4),
        card=dataclasses.replace(made.card, sessions=[], correlations=[], rejected={}),
    )
    text = page.read_text("utf-8")
    assert "This search is not complete: 4 networks to be scored yet." in text
    assert "need 10 comparable networks that differ; there is 1." in text
    assert "its command was not noted" in text
    assert "Rank correlation" not in text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_opens_without_an_error_and_shows_the_front(
    written: Callable[..., Path], browse: Browse, tmp_path: Path, theme: str
) -> None:
    shot = tmp_path / f"{theme}.png"
    options = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"]
    done = browse(
        f"file://{written()}",
        f"--screenshot={shot}",
        "--window-size=1100,1200",
        *(options if theme == "dark" else ["--blink-settings=preferredColorScheme=1"]),
    )
    assert "CONSOLE" not in done.stderr
    pixels = np.array(Image.open(shot).convert("RGB"))
    paper = (pixels == PAPER[theme]).all(axis=2)
    assert paper.mean() > 0.7
    accent = (pixels == ACCENT[theme]).all(axis=2)
    assert accent.sum() > 300, "the front is drawn"


def test_an_error_of_the_script_would_be_seen(written: Callable[..., Path], browse: Browse) -> None:
    page = written()
    page.write_text(page.read_text("utf-8").replace("</body>", "<script>none()</script>"), "utf-8")
    assert "CONSOLE" in browse(f"file://{page}", "--dump-dom").stderr


def test_what_is_pointed_at_is_told(written: Callable[..., Path], browse: Browse) -> None:
    page = written()
    untouched = browse(f"file://{page}", "--dump-dom").stdout
    assert re.search(r'<div id="tip"[^>]*hidden', untouched)
    page.write_text(page.read_text("utf-8").replace("</body>", TOUCH), "utf-8")
    done = browse(f"file://{page}", "--dump-dom")
    assert "CONSOLE" not in done.stderr
    tip = re.search(r'<div id="tip"([^>]*)>(.*?)</div>', done.stdout)
    assert tip is not None
    assert "hidden" not in tip[1]
    assert "<b>Network 3: " in tip[2]
    assert "<span>90.0% accuracy</span>" in tip[2]
    marked = re.findall(r'<(\w+)[^>]*data-key="trial-3"[^>]*class="on"', done.stdout)
    marked += re.findall(r'<(\w+)[^>]*class="on"[^>]*data-key="trial-3"', done.stdout)
    assert set(marked) == {"circle", "polyline", "tr"}, "in every figure and table"
