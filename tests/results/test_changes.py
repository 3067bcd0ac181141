"""What has changed in a study since somebody looked, in each kind of storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import RDBStorage

from results import changes
from results.study import Study
from results.trial import Estimate, Proposal, Score
from results.urls import sqlite_url
from search_space import SearchSpace

Start = Callable[..., Any]


@pytest.fixture(params=["sqlite", "journal"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / "study"
    return sqlite_url(path) if request.param == "sqlite" else f"journal:{path}"


@pytest.fixture
def start(space: SearchSpace, proposal: Callable[..., Proposal], estimate: Estimate) -> Start:
    def begun(study: Study, depth: int, owner: str | None = "me") -> Any:
        return study.start(space, proposal(depth), estimate, {}, owner)

    return begun


def test_what_others_do_is_told_once(
    url: str, start: Start, score: Callable[[float], Score]
) -> None:
    ours, theirs = Study.create(url, "run", {}), Study.load(url, "run")
    assert ours.changed() == []
    one, two = start(theirs, 1), start(theirs, 2)
    assert ours.changed() == [one, two]
    assert ours.changed() == []
    done = theirs.complete(one, score(0.5))
    three = start(theirs, 3)
    assert ours.changed() == [done, three]
    moved = theirs.record_rung(two, score(0.25))
    taken = theirs.take_over(three, "another")
    assert ours.changed() == [moved, taken]
    failed = theirs.fail(two, "no luck")
    assert ours.changed() == [failed]
    assert ours.changed() == []
    assert Study.load(url, "run").changed() == [done, failed, taken] == ours.trials()


def test_what_one_does_oneself_is_told_too(
    url: str, start: Start, score: Callable[[float], Score]
) -> None:
    study = Study.create(url, "run", {})
    trial = start(study, 1)
    assert study.changed() == [trial]
    done = study.complete(trial, score(0.5))
    assert study.changed() == [done]
    assert study.changed() == []


def test_many_are_told_as_few_are(
    url: str,
    start: Start,
    score: Callable[[float], Score],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "MOST_SINGLY", 1)
    ours, theirs = Study.create(url, "run", {}), Study.load(url, "run")
    begun = [start(theirs, depth) for depth in (1, 2, 3)]
    assert ours.changed() == begun
    done = [theirs.complete(trial, score(0.5)) for trial in begun]
    assert ours.changed() == done


def test_running_trials_that_do_not_change_are_not_read(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.create(sqlite_url(tmp_path / "s.db"), "run", {})
    for depth in (1, 2, 3):
        start(study, depth)
    study.changed()
    read: list[int] = []
    original = RDBStorage._build_frozen_trial_from_trial_model

    def counted(self: RDBStorage, trial: Any) -> Any:
        read.append(trial.number)
        return original(self, trial)

    monkeypatch.setattr(RDBStorage, "_build_frozen_trial_from_trial_model", counted)
    assert study.changed() == []
    assert read == []
