"""The study: one record that Optuna and people can read, and that a kill leaves usable."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from results import making, records
from results.storage import open_storage
from results.study import Study
from results.trial import Estimate, Proposal, Retrained, Score, Trial
from results.urls import sqlite_url
from search_space import SearchSpace, UserError

SETTINGS = {"version": 1, "space": {"depths": [[1, 2]]}, "limit": None, "share": 0.5}
CONSTRAINTS = {"macs": -765_433.0, "latency_ms": -0.5}

Propose = Callable[..., Proposal]
ScoreOf = Callable[[float], Score]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "study.db")


@pytest.fixture
def study(url: str) -> Study:
    return Study.create(url, "run", SETTINGS)


def theirs(url: str) -> optuna.Study:
    """The study as Optuna itself opens it."""
    return optuna.load_study(study_name="run", storage=url)


# --- Making and finding -----------------------------------------------------------------------


def test_the_settings_come_back(study: Study, url: str) -> None:
    found = Study.load(url, "run")
    assert found.settings == study.settings == SETTINGS
    assert found.name == "run"
    assert found.trials() == []
    assert found.rejected == {}
    assert found.trials() == []


def test_optuna_reads_directions_and_names(study: Study, url: str) -> None:
    assert theirs(url).directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert theirs(url).metric_names == ["accuracy", "latency_ms"]


def test_the_page_is_that_of_the_study(study: Study, url: str) -> None:
    other = Study.create(url, "other", {})
    assert (study.page, other.page) == ("dashboard/studies/1", "dashboard/studies/2")


def test_a_name_is_given_once(study: Study, url: str) -> None:
    for attempt in (Study.must_be_new, lambda u, n: Study.create(u, n, {})):
        with pytest.raises(UserError, match=r"already holds a study named 'run'.*search resume"):
            attempt(url, "run")
    Study.must_be_new(url, "another")
    assert Study.load(url, "run").settings == SETTINGS


def test_a_missing_study_lists_those_that_are_there(url: str) -> None:
    with pytest.raises(UserError, match="no study named 'other'; it has: none"):
        Study.load(url, "other")
    Study.create(url, "run", SETTINGS)
    with pytest.raises(UserError, match="no study named 'other'; it has: 'run'"):
        Study.load(url, "other")


def test_a_study_of_someone_else_is_refused(url: str) -> None:
    optuna.create_study(storage=url, study_name="foreign")
    with pytest.raises(UserError, match=r"'foreign' .* lacks .*not made by `search run`"):
        Study.load(url, "foreign")


@pytest.mark.parametrize(
    "url", ["", "study.db", "sqlite:////no/such/folder/study.db", "nosuch://host/database"]
)
def test_a_storage_that_cannot_be_opened_says_what_it_must_be(url: str) -> None:
    for attempt in (
        lambda: open_storage(url),
        lambda: Study.create(url, "run", {}),
        lambda: Study.load(url, "run"),
    ):
        with pytest.raises(UserError, match=r"cannot be opened: .*; it must be a URL") as caught:
            attempt()
        assert repr(url) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk, bread\n" * 100, encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be opened: .*not a database"):
        open_storage(sqlite_url(path))
    assert path.read_text(encoding="utf-8") == "milk, bread\n" * 100


@pytest.mark.parametrize("name", ["what?", "a%20b"])
def test_a_folder_name_may_hold_what_means_something_in_a_url(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    Study.create(sqlite_url(folder / "study.db"), "run", {})
    assert (folder / "study.db").is_file()


@pytest.mark.parametrize("name", ["with space", "50%", "a#b", "quote'", "ä"])
def test_a_folder_name_may_hold_odd_characters(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    Study.create(sqlite_url(folder / "study.db"), "run", {})
    assert (folder / "study.db").is_file()


# --- From start to end ------------------------------------------------------------------------


def test_a_started_trial_runs_and_shows_everything_known(
    study: Study, url: str, space: SearchSpace, proposal: Propose, estimate: Estimate
) -> None:
    proposed = proposal(marks={"generation": 2})
    trial = study.start(space, proposed, estimate, CONSTRAINTS)
    assert (trial.number, trial.state, trial.score, trial.failure) == (0, "running", None, None)
    assert (trial.proposal, trial.estimate) == (proposed, estimate)
    assert len(study.trials()) == 1

    (frozen,) = theirs(url).trials
    assert frozen.state == TrialState.RUNNING
    assert frozen.params == proposed.choices
    assert frozen.constraints == CONSTRAINTS
    attributes = frozen.user_attrs
    for name, value in dataclasses.asdict(estimate).items():
        assert attributes[name] == value
    assert attributes["architecture"] == proposed.spec.id
    assert attributes["constraints"] == CONSTRAINTS


def test_choices_are_shown_as_they_are(
    study: Study, url: str, space: SearchSpace, proposal: Propose, estimate: Estimate
) -> None:
    study.start(space, proposal(), estimate, {})
    (frozen,) = theirs(url).trials
    for dimension in space.dimensions:
        assert frozen.distributions[dimension.name] == CategoricalDistribution(dimension.choices)


def test_no_constraints_without_limits(
    study: Study, url: str, space: SearchSpace, proposal: Propose, estimate: Estimate
) -> None:
    study.start(space, proposal(), estimate, {})
    assert not theirs(url).trials[0].constraints


def test_a_completed_trial_has_both_objectives(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
) -> None:
    trial = study.start(space, proposal(), estimate, CONSTRAINTS)
    done = study.complete(trial, score(0.75))
    assert done == dataclasses.replace(trial, state="complete", score=score(0.75))
    assert done.objectives == (0.75, 12.5)
    assert Study.load(url, "run").trials() == [done]

    (frozen,) = theirs(url).trials
    assert frozen.state == TrialState.COMPLETE
    assert frozen.values == [0.75, 12.5]
    assert frozen.user_attrs["wall_s"] == 0.5
    assert [t.number for t in theirs(url).best_trials] == [0]


def test_a_failed_trial_keeps_its_reason(
    study: Study, url: str, space: SearchSpace, proposal: Propose, estimate: Estimate
) -> None:
    trial = study.start(space, proposal(), estimate, CONSTRAINTS)
    failed = study.fail(trial, "the loss became nan")
    assert failed == dataclasses.replace(trial, state="failed", failure="the loss became nan")
    assert Study.load(url, "run").trials() == [failed]
    assert theirs(url).trials[0].state == TrialState.FAIL


def test_numbers_follow_each_other_whatever_became_of_them(
    study: Study, space: SearchSpace, proposal: Propose, estimate: Estimate, score: ScoreOf
) -> None:
    for number, depth in enumerate((1, 2, 3)):
        assert len(study.trials()) == number
        trial = study.start(space, proposal(depth), estimate, CONSTRAINTS)
        assert trial.number == number
        if number == 1:
            study.fail(trial, "no luck")
        else:
            study.complete(trial, score(0.5))
    assert [t.state for t in study.trials()] == ["complete", "failed", "complete"]
    assert [t.number for t in study.trials()] == [0, 1, 2]
    assert study.trial(2).proposal == proposal(3)


def test_scores_of_rungs_are_attributes_that_people_read(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
) -> None:
    trial = study.start(space, proposal(), estimate, CONSTRAINTS)
    assert trial.rungs == ()
    trial = study.record_rung(trial, score(0.25))
    assert (trial.state, trial.score, trial.rungs) == ("running", None, (score(0.25),))
    trial = study.record_rung(trial, score(0.5))
    assert Study.load(url, "run").trials() == [trial]
    done = study.complete(trial, trial.rungs[-1])
    assert (done.score, done.rungs) == (score(0.5), (score(0.25), score(0.5)))
    assert Study.load(url, "run").trials() == [done]

    attributes = theirs(url).trials[0].user_attrs
    assert attributes["rungs"] == 2
    assert (attributes["rung1_accuracy"], attributes["rung2_accuracy"]) == (0.25, 0.5)
    assert {"rung2_loss", "rung2_epochs", "rung2_wall_s"} < attributes.keys()
    assert theirs(url).trials[0].values == [0.5, 12.5]


def test_a_trial_that_fails_in_a_rung_keeps_those_before(
    study: Study, space: SearchSpace, proposal: Propose, estimate: Estimate, score: ScoreOf
) -> None:
    trial = study.record_rung(study.start(space, proposal(), estimate, {}), score(0.25))
    failed = study.fail(trial, "no luck")
    assert (failed.state, failed.score, failed.rungs) == ("failed", None, (score(0.25),))


# --- Shared by several processes ----------------------------------------------------------------


def test_a_study_is_joined_with_the_same_settings(url: str) -> None:
    made = Study.join(url, "run", SETTINGS)
    joined = Study.join(url, "run", dict(SETTINGS))
    assert joined.settings == made.settings == SETTINGS


def test_other_settings_are_named(study: Study, url: str) -> None:
    other = {**SETTINGS, "space": {"depths": [[1, 3]]}, "version": 2, "more": True}
    with pytest.raises(UserError, match=r"'run' .* has other settings: ") as caught:
        Study.join(url, "run", other)
    for difference in (
        "`version` is 2 here, 1 there",
        "`space.depths` is [[1, 3]] here, [[1, 2]] there",
        "`more` is true here, null there",
    ):
        assert difference in str(caught.value)


def test_other_objectives_are_named(url: str) -> None:
    foreign = optuna.create_study(storage=url, study_name="run", directions=["minimize"] * 2)
    foreign.set_user_attr("settings", SETTINGS)
    for attempt in (Study.load, lambda u, n: Study.join(u, n, SETTINGS)):
        with pytest.raises(UserError, match="minimize a value and minimize a value, needed"):
            attempt(url, "run")
    optuna.delete_study(study_name="run", storage=url)
    foreign = optuna.create_study(
        storage=url, study_name="run", directions=["maximize", "minimize"]
    )
    foreign.set_user_attr("settings", SETTINGS)
    foreign.set_metric_names(["accuracy", "energy"])
    with pytest.raises(UserError, match="maximize accuracy and minimize energy, needed are max"):
        Study.join(url, "run", SETTINGS)


def test_what_a_process_left_that_was_killed_in_making_a_study_is_made_whole(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna.create_study(storage=url, study_name="run", directions=["maximize", "minimize"])
    monkeypatch.setattr(making, "MADE_WITHIN_S", 0.2)
    assert Study.join(url, "run", SETTINGS).settings == SETTINGS
    assert theirs(url).metric_names == ["accuracy", "latency_ms"]


def test_a_withdrawn_trial_is_neither_complete_nor_failed(
    study: Study, url: str, space: SearchSpace, proposal: Propose, estimate: Estimate
) -> None:
    trial = study.start(space, proposal(), estimate, {}, "a")
    withdrawn = study.withdraw(trial, "trial 3 is the same network")
    assert withdrawn == dataclasses.replace(
        trial, state="withdrawn", failure="trial 3 is the same network"
    )
    assert Study.load(url, "run").trials() == [withdrawn]
    assert theirs(url).trials[0].state == TrialState.FAIL


def test_only_its_owner_releases_a_trial(
    study: Study, space: SearchSpace, proposal: Propose, estimate: Estimate
) -> None:
    trial = study.start(space, proposal(), estimate, {}, "a")
    taken = study.take_over(trial, "b")
    study.release(trial)
    assert study.trial(0).owner == "b"
    study.release(taken)
    assert study.trial(0).owner is None


def test_trials_that_have_ended_are_parsed_once(
    study: Study,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for depth in (1, 2, 3):
        study.complete(study.start(space, proposal(depth), estimate, {}), score(0.5))
    before = study.trials()
    running = study.start(space, proposal(1, 4), estimate, {})
    parsed: list[int] = []
    original = records.read

    def counted(frozen: Any, proposal: Proposal | None) -> Trial:
        parsed.append(frozen.number)
        return original(frozen, proposal)

    monkeypatch.setattr(records, "read", counted)
    assert study.trials() == [*before, running]
    assert parsed == [3]


# --- After a kill -----------------------------------------------------------------------------


def test_a_trial_is_written_whole_or_not_at_all(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = RDBStorage._set_trial_attr_without_commit

    def killed(self: RDBStorage, session: Any, model: Any, i: int, key: str, value: Any) -> None:
        if key == "notes":
            raise KeyboardInterrupt
        original(self, session, model, i, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "_set_trial_attr_without_commit", killed)
        with pytest.raises(KeyboardInterrupt):
            study.start(space, proposal(), estimate, CONSTRAINTS)
    assert Study.load(url, "run").trials() == []
    assert study.start(space, proposal(), estimate, CONSTRAINTS).number == 0


def test_a_trial_left_running_is_ended_by_another_under_its_number(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
) -> None:
    study.complete(study.start(space, proposal(1), estimate, CONSTRAINTS), score(0.25))
    left = study.start(space, proposal(2), estimate, CONSTRAINTS, "a")

    later = Study.load(url, "run")
    assert later.trials()[1] == left
    taken = later.take_over(left, "b")
    assert taken == dataclasses.replace(left, owner="b")
    done = later.complete(taken, score(0.5))
    assert (done.number, done.state, done.owner) == (1, "complete", "b")
    assert len(later.trials()) == len(theirs(url).trials) == 2


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_the_first_end_of_a_trial_stands(
    storage: str,
    tmp_path: Path,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
) -> None:
    where = {"sqlite": sqlite_url(tmp_path / "s.db"), "journal": f"journal:{tmp_path / 's.log'}"}
    one = Study.create(where[storage], "run", SETTINGS)
    two = Study.load(where[storage], "run")
    trial = one.start(space, proposal(), estimate, CONSTRAINTS, "a")
    assert two.trials() == [trial]
    done = one.complete(trial, score(0.5))
    assert two.complete(trial, score(0.25)) == done
    assert two.fail(trial, "no luck") == two.withdraw(trial, "too late") == done
    assert two.record_rung(trial, score(0.25)) == done
    assert two.take_over(trial, "b") == done
    two.release(trial)
    two.beat("a", 7)
    assert one.trials() == two.trials() == Study.load(where[storage], "run").trials() == [done]


def test_of_two_ends_at_the_same_moment_one_waits(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A score is to be written after the failure has read that the trial is running."""
    trial, other = study.start(space, proposal(), estimate, {}), Study.load(url, "run")
    scoring = threading.Thread(target=other.complete, args=(trial, score(0.5)))
    original = RDBStorage.check_trial_is_updatable

    def interrupted(self: RDBStorage, trial_id: int, state: TrialState) -> None:
        original(self, trial_id, state)
        if scoring.ident is None:
            scoring.start()
            scoring.join(0.5)  # time enough for a write that nothing keeps out

    monkeypatch.setattr(study, "_annotate", lambda *_: None)
    monkeypatch.setattr(RDBStorage, "check_trial_is_updatable", interrupted)
    assert study.fail(trial, "no luck").state == "failed"
    scoring.join()
    (frozen,) = theirs(url).trials
    assert (frozen.state, frozen.values) == (TrialState.FAIL, None), "no score was overwritten"


def test_a_score_written_before_the_kill_is_written_over(
    study: Study,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = study.start(space, proposal(), estimate, CONSTRAINTS)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "set_trial_state_values", killed)
        with pytest.raises(KeyboardInterrupt):
            study.complete(trial, score(0.25))
    assert study.trials() == [trial]
    done = study.complete(trial, score(0.5))
    assert done.score == score(0.5)
    assert done.objectives[0] == 0.5


def test_a_rung_written_in_part_is_none(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = study.record_rung(study.start(space, proposal(), estimate, {}), score(0.25))
    original = RDBStorage.set_trial_user_attr

    def killed(self: RDBStorage, trial_id: int, key: str, value: Any) -> None:
        if key == "rungs":
            raise KeyboardInterrupt
        original(self, trial_id, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "set_trial_user_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            study.record_rung(trial, score(0.5))
    assert "rung2_accuracy" in theirs(url).trials[0].user_attrs
    assert study.trials() == [trial]
    assert study.record_rung(trial, score(0.75)).rungs == (score(0.25), score(0.75))


# --- What was turned away ---------------------------------------------------------------------


def test_rejections_are_added_up(study: Study, url: str) -> None:
    study.count_rejected({"macs": 3, "duplicate": 1})
    assert Study.load(url, "run").rejected == {"macs": 3, "duplicate": 1}
    Study.load(url, "run").count_rejected({"macs": 4, "not a network": 2})
    assert study.rejected == {"macs": 7, "duplicate": 1, "not a network": 2}


def test_no_rejections_are_not_written(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(optuna.Study, "set_user_attr", written)
    study.count_rejected({})


# --- Full training ------------------------------------------------------------------------------


def test_a_full_training_is_written_beside_the_score(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
) -> None:
    trial = study.start(space, proposal(), estimate, CONSTRAINTS)
    done = study.complete(trial, score(0.5))
    assert done.retrained is None
    full = Retrained(accuracy=None, test_accuracy=0.88, recipe="quick", epochs=5, folder="a/b")
    again = dataclasses.replace(full, accuracy=0.9)
    for reached in (full, again):  # the last one counts
        written = study.record_retrained(done.number, reached)
        assert written == dataclasses.replace(done, retrained=reached)
        assert Study.load(url, "run").trials() == [written]
    assert theirs(url).trials[0].values == [0.5, estimate.latency_ms]
