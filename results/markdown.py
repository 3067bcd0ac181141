"""Tables in Markdown, for cards and reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]], align: str = "") -> str:
    """A table; bars and line breaks in cells are written so that they stay in their cells.
    ``align`` has an ``l`` or an ``r`` for each column; without it all begin at the left."""
    rule = ["---:" if side == "r" else "---" for side in align or "l" * len(header)]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    return escaped(" ".join(str(value).split())).replace("|", "\\|")


def escaped(text: str) -> str:
    """Text without HTML in it, which Markdown would leave as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
