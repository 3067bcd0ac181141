"""The heartbeat of a process that runs trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from results import heart
from results.heart import Heart
from results.patience import StorageFailed
from results.study import Study
from results.trial import Estimate, Proposal, Score
from results.urls import sqlite_url
from search_space import SearchSpace


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(sqlite_url(tmp_path / "s.db"), "run", {})


def test_it_moves_for_all_running_trials_of_one_owner(
    study: Study,
    space: SearchSpace,
    proposal: Callable[..., Proposal],
    estimate: Estimate,
    score: Callable[[float], Score],
) -> None:
    owners = ("me", "another", "me")
    begun = [study.start(space, proposal(d), estimate, {}, o) for d, o in enumerate(owners, 1)]
    study.complete(begun[-1], score(0.5))
    beating = Heart(study, "me")
    assert [t.heartbeat for t in study.changed()] == [0, 0, 0]
    beating.beat()
    beating.beat()
    assert [t.heartbeat for t in study.trials()] == [2, 0, 0]
    assert [(t.number, t.heartbeat) for t in study.changed()] == [(0, 2)]
    assert study.changed() == []


def test_a_storage_that_fails_for_a_moment_does_not_stop_it(
    study: Study,
    space: SearchSpace,
    proposal: Callable[..., Proposal],
    estimate: Estimate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heart, "BEAT_S", 0.01)
    fails = [True]
    original = Study.beat

    def sometimes(self: Study, owner: str, count: int) -> None:
        if fails:
            fails.pop()
            raise StorageFailed("gone")
        original(self, owner, count)

    monkeypatch.setattr(Study, "beat", sometimes)
    beating = Heart(study, "me")
    study.start(space, proposal(), estimate, {}, "me")
    beating.start()
    while study.trial(0).heartbeat < 2:
        assert beating._thread.is_alive()
    beating.stop()
    assert not beating._thread.is_alive()
    assert not fails
