"""Sessions as a study keeps them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from results.folder import RunFolder
from results.search_card import session_rows
from results.session import Session
from search_space import UserError


def test_a_session_survives_json(session: Callable[..., Session]) -> None:
    made = session(commit=None)
    assert Session.from_dict(json.loads(json.dumps(dataclasses.asdict(made)))) == made


def test_the_command_line_is_what_a_shell_takes(session: Callable[..., Session]) -> None:
    made = session(command=("search", "run", "--data", "folder:my photos"))
    assert made.command_line == "search run --data 'folder:my photos'"


def test_a_study_lists_its_sessions_in_the_order_of_their_beginning(
    tmp_path: Path, session: Callable[..., Session]
) -> None:
    study = RunFolder.create(tmp_path, None, {}).study()
    assert study.sessions == []
    late, early = session(begun="2026-02-02T00:00:00"), session(begun="2026-01-01T00:00:00")
    study.record_session(late)
    study.record_session(early)
    assert RunFolder.open(tmp_path).study().sessions == [early, late]


def test_what_another_version_noted_is_read_as_far_as_it_is_known(
    session: Callable[..., Session],
) -> None:
    made = session()
    assert Session.from_dict({**dataclasses.asdict(made), "gpu": "none"}) == made
    older = Session.from_dict({"begun": "2026", "command": ["search", "run"]})
    assert (older.begun, older.command) == ("2026", ("search", "run"))
    assert session_rows(older)["machine"] == "not noted"
    assert session_rows(older)["images scored on"] == "not noted"


@pytest.mark.parametrize("damaged", ["2026", ["2026"], {"begun": 2026, "command": 5}])
def test_a_session_that_is_damaged_is_named(tmp_path: Path, damaged: object) -> None:
    study = RunFolder.create(tmp_path, None, {}).study()
    study._study.set_user_attr("session 1", damaged)
    with pytest.raises(UserError, match="a session cannot be read"):
        _ = study.sessions
