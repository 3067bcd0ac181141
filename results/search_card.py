"""The card of a search: what it searched, under which limits, on what, with what; what came of it.

It has what running the search again takes. That of an exported network is in :mod:`results.card`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from results.markdown import markdown_table
from results.session import Session
from search_space.digests import short_hash

if TYPE_CHECKING:
    from results.rungs import RankCorrelation

SESSION_ROWS = {
    "begun": "begun (UTC)",
    "command_line": "command",
    "machine": "machine",
    "cores": "cores",
    "commit": "commit",
    "data": "fingerprint of the images",
    "split": "fingerprint of the split",
    "training_images": "images trained on",
    "validation_images": "images scored on",
    "device": "fingerprint of the device",
}
"""What is shown of a session, besides the versions, and what it is called."""
CORRELATION_HEADER = ("rungs", "networks in both", "Spearman", "Kendall")


@dataclass(frozen=True, kw_only=True)
class SearchCard:
    """A search, at the moment it is written down.

    Args:
        study: Its name.
        settings: Everything that determines it, as in the study (JSON values).
        space: Name of the search space.
        limits: The budgets with their units, in words.
        trainings: The short trainings, the cheapest first, in words.
        states: Trials by state.
        rejected: Proposals that never became trials, by reason.
        correlations: Of each rung and the next.
        training_s: Seconds of all trainings, in every rung.
        sessions: Who has worked on it; empty for a study of before they were noted.
    """

    study: str
    settings: Mapping[str, Any]
    space: str
    limits: str
    trainings: Sequence[str]
    states: Mapping[str, int]
    rejected: Mapping[str, int]
    correlations: Sequence[RankCorrelation]
    training_s: float
    sessions: Sequence[Session]

    @property
    def space_hash(self) -> str:
        """Twelve hexadecimal digits that any change of the space would change."""
        text = json.dumps(self.settings.get("space"), sort_keys=True)
        return short_hash([text.encode()])

    def to_json(self) -> str:
        """``card.json``."""
        values = {**asdict(self), "space_hash": self.space_hash}
        return json.dumps(values, indent=2) + "\n"

    def facts(self) -> dict[str, str]:
        """What the search was, and how far it has come, in words."""
        told = self.settings
        return {
            "space": f"{self.space} (hash {self.space_hash})",
            "limits": self.limits,
            "sought": SOUGHT[told.get("aim", "front")],
            "searcher": f"{told.get('searcher')}, seed {told.get('seed')}",
            "data": str(told.get("data")),
            "each network trained": ", then ".join(self.trainings) + _images(told),
            "networks": ", ".join(f"{n:,} {state}" for state, n in self.states.items())
            + f"; {told.get('trials'):,} to be scored",
            "training": f"{self.training_s:,.0f} s in all",
        }

    def to_markdown(self) -> str:
        """``card.md``."""
        again = "`card.json` has every setting.\n\n" + "\n\n".join(
            f"```\n{command}\n```" for command in self.commands()
        )
        parts = [
            f"# Search {self.study}",
            markdown_table(("search", ""), self.facts().items()),
            markdown_table(("turned away before training", "proposals"), self.rejected_rows()),
            f"## Running it again\n\n{again}",
            *(
                f"## Session {number}\n\n" + markdown_table(("", ""), session_rows(session).items())
                for number, session in enumerate(self.sessions, 1)
            ),
        ]
        if self.correlations:
            rows = correlation_rows(self.correlations)
            parts.insert(3, markdown_table(CORRELATION_HEADER, rows))
        return "\n\n".join(parts) + "\n"

    def commands(self) -> list[str]:
        """The commands of the search, in their order."""
        return [s.command_line for s in self.sessions] or ["its command was not noted"]

    def rejected_rows(self) -> list[tuple[str, str]]:
        """Reason and number, the most frequent first."""
        counts = sorted(self.rejected.items(), key=lambda item: (-item[1], item[0]))
        return [(rejection(reason), f"{n:,}") for reason, n in counts] or [("none", "0")]


SOUGHT = {
    "front": "the front of accuracy and milliseconds",
    "accuracy": "the best accuracy alone",
}
"""What each aim of a search is, in words."""


def _images(settings: Mapping[str, Any]) -> str:
    images = settings.get("images")
    return f", on at most {images:,} images" if images else ""


def rejection(reason: str) -> str:
    """Why a proposal was turned away, in words."""
    named = {
        "duplicate": "a network that was proposed before",
        "not a network": "choices that make no network",
        "macs": "over the limit of MACs",
        "latency_ms": "over the limit of milliseconds",
        "latency_high_ms": "upper end of the interval over the limit of milliseconds",
    }
    return named.get(reason, reason)


def correlation_rows(found: Sequence[RankCorrelation]) -> list[tuple[str, str, str, str]]:
    """What people read of rank correlations, under ``CORRELATION_HEADER``."""
    return [
        (
            f"{c.lower} and {c.lower + 1}",
            str(c.trials),
            "undefined" if c.spearman is None else f"{c.spearman:+.2f}",
            "undefined" if c.kendall is None else f"{c.kendall:+.2f}",
        )
        for c in found
    ]


def session_rows(session: Session) -> dict[str, str]:
    """What a session noted, in words."""
    noted = {label: getattr(session, name) for name, label in SESSION_ROWS.items()}
    rows = {label: str(value or "not noted") for label, value in noted.items()}
    rows["commit"] = session.commit or "no checkout"
    return rows | session.versions
