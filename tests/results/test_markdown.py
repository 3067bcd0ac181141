"""Tables in Markdown."""

from __future__ import annotations

from results.markdown import markdown_table


def test_figures_stand_at_the_right() -> None:
    table = markdown_table(("a", "b"), [("x", 1)], align="lr")
    assert table.splitlines() == ["| a | b |", "| --- | ---: |", "| x | 1 |"]


def test_cells_stay_in_their_cells() -> None:
    table = markdown_table(("a", "b"), [(1, "x|y"), ("two\nlines", ""), ("<b>", "a & b > c")])
    assert table.splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1 | x\\|y |",
        "| two lines |  |",
        "| &lt;b> | a &amp; b > c |",
    ]
