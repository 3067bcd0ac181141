"""How the networks of a report were scored: in which rungs, by which commands, with what."""

from __future__ import annotations

from collections.abc import Iterator

from results.report.blocks import Block, Lines, Table, Text
from results.report.data import Report
from results.rungs import RUNG_HEADER, count_rungs, rung_rows
from results.search_card import CORRELATION_HEADER, correlation_rows, session_rows


def rungs(report: Report) -> Iterator[Block]:
    """What each rung scored, and how far their orders agree; nothing without rungs."""
    counts = count_rungs(report.trials)
    if not counts:
        return
    yield Text(
        heading="Rungs",
        text="All networks were trained briefly, the better ones longer. A rank correlation near 1"
        " says that the shorter training orders networks as the longer one does; as only the better"
        " networks go on, it is smaller than it would be over all.",
    )
    yield Table(header=RUNG_HEADER, rows=rung_rows(counts, report.card.trainings))
    if report.card.correlations:
        yield Table(
            title="Rank correlation between rungs",
            header=CORRELATION_HEADER,
            rows=correlation_rows(report.card.correlations),
        )


def origin(report: Report) -> Iterator[Block]:
    """The commands, the search in short, and each process that worked on it."""
    yield Text(heading="How it was made")
    yield Lines(lines=report.card.commands())
    yield Table(rows=list(report.card.facts().items()), words=True)
    for number, session in enumerate(report.card.sessions, 1):
        rows = [(name, value) for name, value in session_rows(session).items() if name != "command"]
        yield Table(title=f"Session {number}", rows=rows, words=True)
