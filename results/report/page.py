"""The page: one file of HTML with its figures, style and script in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files

from results.report.blocks import Block, Figure, Lines, Table, Text
from results.report.data import Report, tips
from results.report.story import key_figures, story, summary

BESIDE = ("report.md", "trials.csv", "pareto.csv", "card.md", "card.json", "figures/")
"""Files of the run's folder that a reader may want."""

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
<main>
<p class="kicker">Architecture search</p>
<h1>{title}</h1>
<p class="lead">{summary}</p>
{state}<dl class="figures">
{figures}
</dl>
{sections}
<footer><p>{footer} Beside this page: {beside}.</p></footer>
</main>
<div id="tip" role="status" hidden></div>
<script type="application/json" id="tips">{tips}</script>
<script>
{js}</script>
</body>
</html>
"""


def page(report: Report, drawings: Mapping[str, str], footer: str) -> str:
    """HTML; ``drawings`` are the figures as ``svg`` elements by their names."""
    state = f'<p class="state">{escape(report.state)}</p>\n' if report.state else ""
    return _PAGE.format(
        title=escape(report.card.study),
        css=_asset("page.css"),
        js=_asset("page.js"),
        summary=escape(summary(report)),
        state=state,
        figures="\n".join(_key_figure(*one) for one in key_figures(report)),
        sections="\n".join(_block(block, drawings) for block in story(report)),
        footer=escape(footer),
        beside=", ".join(f'<a href="{name}">{name}</a>' for name in BESIDE),
        # Nothing in it may end the script.
        tips=json.dumps(tips(report)).replace("<", "\\u003c"),
    )


def _asset(name: str) -> str:
    return (files("results.report") / name).read_text(encoding="utf-8")


def _key_figure(name: str, value: str, note: str) -> str:
    return (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
    )


def _block(block: Block, drawings: Mapping[str, str]) -> str:
    match block:
        case Text(heading=heading, text=text):
            head = f"<h2>{escape(heading)}</h2>\n" * bool(heading)
            return head + f"<p>{escape(text)}</p>" * bool(text)
        case Figure(name=name, caption=caption):
            return (
                f"<figure>\n{drawings[name]}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"
            )
        case Table():
            return _table(block)
        case Lines(lines=lines):
            return "\n".join(f"<pre>{escape(line)}</pre>" for line in lines)


def _table(table: Table) -> str:
    head = f"<h3>{escape(table.title)}</h3>\n" * bool(table.title)
    kind = ' class="words"' * table.words
    titles = _row(table.header, "th") if any(table.header) else ""
    keys = table.keys or [""] * len(table.rows)
    rows = "\n".join(_row(row, "td", key) for row, key in zip(table.rows, keys, strict=True))
    body = f"<thead>{titles}</thead>" * bool(titles) + f"<tbody>\n{rows}\n</tbody>"
    return f'{head}<div class="scroll"><table{kind}>{body}</table></div>'


def _row(cells: Iterable[str], tag: str, key: str = "") -> str:
    marked = f' data-key="{escape(key)}"' * bool(key)
    return f"<tr{marked}>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"
