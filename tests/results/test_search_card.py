"""The card of a search, for machines and for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from results.folder import RunFolder
from results.rungs import RankCorrelation
from results.search_card import SearchCard
from results.session import Session


def test_the_card_in_json_has_settings_sessions_and_counts(
    tmp_path: Path, search_card: Callable[..., SearchCard]
) -> None:
    folder, made = RunFolder.create(tmp_path, None, {}), search_card()
    folder.write_card(made)
    found = json.loads((tmp_path / "card.json").read_text("utf-8"))
    assert found["settings"] == made.settings
    assert found["rejected"] == {"macs": 7, "duplicate": 2}
    assert found["space_hash"] == made.space_hash
    assert Session.from_dict(found["sessions"][0]) == made.sessions[0]
    assert found["correlations"][0]["spearman"] == 0.5
    assert (tmp_path / "card.md").read_text("utf-8") == made.to_markdown()


def test_the_space_s_hash_changes_with_the_space_alone(
    search_card: Callable[..., SearchCard],
) -> None:
    made = search_card()
    space = made.settings["space"]
    reordered = {**made.settings, "space": dict(reversed(space.items())), "seed": 5}
    assert dataclasses.replace(made, settings=reordered).space_hash == made.space_hash
    other = {**made.settings, "space": {**space, "classes": 11}}
    assert dataclasses.replace(made, settings=other).space_hash != made.space_hash


def test_the_card_for_people(search_card: Callable[..., SearchCard]) -> None:
    text = search_card().to_markdown()
    assert "```\nsearch run --budget 1M\n```" in text
    assert "| over the limit of MACs | 7 |\n| a network that was proposed before | 2 |" in text
    assert "| 1 and 2 | 4 | +0.50 | +0.33 |" in text
    assert "| torch | 2.15.0 |" in text
    assert "3 complete, 0 running, 1 failed; 4 to be scored" in text


def test_what_is_not_known_is_said(search_card: Callable[..., SearchCard]) -> None:
    undefined = RankCorrelation(lower=1, trials=2, spearman=None, kendall=None)
    text = search_card(correlations=[undefined], sessions=[], rejected={}).to_markdown()
    assert "its command was not noted" in text
    assert "| 1 and 2 | 2 | undefined | undefined |" in text
    assert "| none | 0 |" in text
