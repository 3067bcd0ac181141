"""What a report is made of, on the page and in Markdown: paragraphs, figures, tables, lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph, below a heading where it has one."""

    heading: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure by its name, and what it shows."""

    name: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; ``keys`` tell what rows are of, ``words`` that no column is of numbers."""

    title: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]]
    keys: Sequence[str] = ()
    words: bool = False


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Lines as they are typed."""

    lines: Sequence[str]


Block: TypeAlias = Text | Figure | Table | Lines
