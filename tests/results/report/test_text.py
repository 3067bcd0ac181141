"""The report in Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from results.report import Report
from results.report.text import markdown
from results.trial import Score, Trial


def test_it_says_what_the_page_says(report: Callable[..., Report]) -> None:
    text = markdown(report(), "figures", "Written today.")
    assert text.startswith("# Architecture search tried\n")
    assert "![front ms](figures/front_ms.png)" in text
    assert "| best accuracy | 90.0% | network 3, chosen on the images it is scored on |" in text
    assert "on other images" not in text
    assert "| over the limit of MACs | 7 |" in text
    assert "### The Pareto front" in text
    assert "| head | 10x1x1 | 1 |" in text
    assert "```\nsearch run --budget 1M\n```" in text
    assert "the loss became nan" in text
    assert text.endswith("\n\nWritten today.\n")
    order = [line for line in text.splitlines() if line.startswith("## ")]
    assert order == [
        "## Accuracy against cost",
        "## The most accurate network",
        "## The course of the search",
        "## What decides",
        "## How it was made",
    ]


def test_what_goes_on_is_told_of_all_rungs_but_the_last(
    report: Callable[..., Report], trials: list[Trial]
) -> None:
    one = Score(accuracy=0.25, loss=1.0, epochs=1, wall_s=1.0)
    climbed = [
        dataclasses.replace(t, rungs=(one,) * n) for t, n in zip(trials, (2, 2), strict=False)
    ]
    # The last, which failed, was to be trained a second time.
    failed = dataclasses.replace(trials[-1], rungs=(one,))
    text = markdown(report(trials=[*climbed, failed]), "figures", "")
    assert "| rung | training | scored | went on | best accuracy | seconds |" in text
    assert "| 1 | 1 epoch at 8x8 | 3 | 2 | 25.0% | 3.0 |" in text
    assert "| 2 | 2 epochs at 8x8 | 2 |  | 25.0% | 2.0 |" in text


def test_reasons_are_text_and_no_html(report: Callable[..., Report], trials: list[Trial]) -> None:
    hostile = "<script>alert(1)</script> & more"
    failed = dataclasses.replace(trials[-1], failure=hostile)
    silent = dataclasses.replace(trials[-1], number=6, failure=None)
    card = dataclasses.replace(report().card, study="<b>")
    text = markdown(report(trials=[*trials[:-1], failed, silent], card=card), "figures", "")
    assert "&lt;script>alert(1)&lt;/script> &amp; more" in text
    assert text.startswith("# Architecture search &lt;b>\n")
    assert "| None |" not in text
    assert "| not noted |" in text


def test_parallel_coordinates_say_what_is_left_out(report: Callable[..., Report]) -> None:
    assert "decide most" not in markdown(report(), "figures", "")
