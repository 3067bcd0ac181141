"""The report in Markdown."""

from __future__ import annotations

from results.markdown import escaped, markdown_table
from results.report.blocks import Block, Figure, Lines, Table, Text
from results.report.data import Report
from results.report.story import key_figures, story, summary


def markdown(report: Report, folder: str, footer: str) -> str:
    """What the page says; its figures are the PNG files of a folder beside it."""
    parts = [
        f"# Architecture search {escaped(report.card.study)}",
        escaped(summary(report)),
        *([f"**{report.state}**"] if report.state else []),
        markdown_table(("", "", ""), key_figures(report)),
        *(_block(block, folder) for block in story(report)),
        footer,
    ]
    return "\n\n".join(parts) + "\n"


def _block(block: Block, folder: str) -> str:
    match block:
        case Text(heading=heading, text=text):
            return "\n\n".join(filter(None, [f"## {heading}" * bool(heading), escaped(text)]))
        case Figure(name=name, caption=caption):
            return f"![{name.replace('_', ' ')}]({folder}/{name}.png)\n\n{escaped(caption)}"
        case Table(title=title, header=header, rows=rows):
            header = header or [""] * len(rows[0])
            return f"### {title}\n\n" * bool(title) + markdown_table(header, rows)
        case Lines(lines=lines):
            return "\n\n".join(f"```\n{line}\n```" for line in lines)
