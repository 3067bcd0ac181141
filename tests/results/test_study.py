"""The study: one record that Optuna and people can read, and that a kill leaves usable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from results.study import Study, open_storage, sqlite_url
from results.trial import Estimate, Proposal, Retrained, Score
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
    assert found.next_number == 0


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
    assert study.next_number == 1

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
    assert study.unfinished(space) == []


def test_numbers_follow_each_other_whatever_became_of_them(
    study: Study, space: SearchSpace, proposal: Propose, estimate: Estimate, score: ScoreOf
) -> None:
    for number, depth in enumerate((1, 2, 3)):
        assert study.next_number == number
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
    assert Study.load(url, "run").unfinished(space) == [trial]
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


# --- After a kill -----------------------------------------------------------------------------


def test_nothing_is_unfinished_at_first(study: Study, space: SearchSpace) -> None:
    assert study.unfinished(space) == []


def test_a_trial_left_running_is_handed_out_again(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
) -> None:
    study.complete(study.start(space, proposal(1), estimate, CONSTRAINTS), score(0.25))
    left = study.start(space, proposal(2), estimate, CONSTRAINTS)

    later = Study.load(url, "run")
    assert later.unfinished(space) == [left]
    assert later.unfinished(space) == [left], "looking does not change it"
    done = later.complete(left, score(0.5))
    assert (done.number, done.state) == (1, "complete")
    assert later.unfinished(space) == []
    assert later.next_number == len(theirs(url).trials) == 2


def enqueue(url: str, proposed: Proposal, estimate: Estimate) -> None:
    """What a process leaves that is killed in the middle of starting a trial."""
    attributes: dict[str, Any] = {
        "architecture": proposed.spec.id,
        **dataclasses.asdict(estimate),
        "constraints": CONSTRAINTS,
        "spec": proposed.spec.to_json(),
        "notes": proposed.notes,
    }
    theirs(url).enqueue_trial(proposed.choices, user_attrs=attributes)


def test_a_trial_left_waiting_is_handed_out_under_its_number(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
) -> None:
    enqueue(url, proposal(2, note=1), estimate)
    assert study.trial(0).proposal == proposal(2, note=1), "it can be read while it waits"
    assert study.next_number == 1
    (trial,) = study.unfinished(space)
    assert (trial.number, trial.state) == (0, "running")
    assert (trial.proposal, trial.estimate) == (proposal(2, note=1), estimate)
    (frozen,) = theirs(url).trials
    assert frozen.state == TrialState.RUNNING
    assert frozen.params == proposal(2).choices
    assert frozen.constraints == CONSTRAINTS
    assert study.complete(trial, score(0.5)).state == "complete"
    assert study.unfinished(space) == []


def test_running_and_waiting_ones_come_in_the_order_of_their_numbers(
    study: Study,
    url: str,
    space: SearchSpace,
    proposal: Propose,
    estimate: Estimate,
    score: ScoreOf,
) -> None:
    for depth in (1, 2):
        study.start(space, proposal(depth), estimate, CONSTRAINTS)
    enqueue(url, proposal(3), estimate)
    study.fail(study.trial(0), "no luck")
    left = Study.load(url, "run").unfinished(space)
    assert [(t.number, t.proposal) for t in left] == [(1, proposal(2)), (2, proposal(3))]
    for trial in left:
        study.complete(trial, score(0.5))
    assert [t.state for t in study.trials()] == ["failed", "complete", "complete"]
    new = study.start(space, proposal(1, 4), estimate, CONSTRAINTS)
    assert (new.number, new.proposal) == (3, proposal(1, 4))


def test_a_trial_taken_before_its_choices_were_written_keeps_them(
    study: Study, url: str, space: SearchSpace, proposal: Propose, estimate: Estimate
) -> None:
    enqueue(url, proposal(2), estimate)
    theirs(url).ask()
    (trial,) = study.unfinished(space)
    assert trial.proposal == proposal(2)


def test_a_trial_taken_while_its_choices_were_written_keeps_them(
    study: Study, url: str, space: SearchSpace, proposal: Propose, estimate: Estimate
) -> None:
    enqueue(url, proposal(2), estimate)
    first = space.dimensions[0]
    theirs(url).ask({first.name: CategoricalDistribution(first.choices)})
    (trial,) = study.unfinished(space)
    assert trial.proposal == proposal(2)


def test_a_trial_taken_before_its_constraints_were_written_gets_them(
    study: Study, url: str, space: SearchSpace, proposal: Propose, estimate: Estimate
) -> None:
    enqueue(url, proposal(2), estimate)
    theirs(url).ask({d.name: CategoricalDistribution(d.choices) for d in space.dimensions})
    study.unfinished(space)
    assert theirs(url).trials[0].constraints == CONSTRAINTS


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
        patch.setattr(optuna.Study, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            study.complete(trial, score(0.25))
    assert study.unfinished(space) == [trial]
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
    original = optuna.trial.Trial.set_user_attr

    def killed(self: optuna.trial.Trial, key: str, value: Any) -> None:
        if key == "rungs":
            raise KeyboardInterrupt
        original(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.trial.Trial, "set_user_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            study.record_rung(trial, score(0.5))
    assert "rung2_accuracy" in theirs(url).trials[0].user_attrs
    assert study.unfinished(space) == [trial]
    assert study.record_rung(trial, score(0.75)).rungs == (score(0.25), score(0.75))


# --- What was turned away ---------------------------------------------------------------------


def test_rejections_are_kept(study: Study, url: str) -> None:
    study.count_rejected({"macs": 3, "duplicate": 1})
    assert Study.load(url, "run").rejected == {"macs": 3, "duplicate": 1}
    study.count_rejected({"macs": 4, "duplicate": 1})
    assert Study.load(url, "run").rejected == {"macs": 4, "duplicate": 1}


def test_equal_counts_are_not_written_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    original = optuna.Study.set_user_attr

    def watched(self: optuna.Study, key: str, value: Any) -> None:
        written.append(key)
        original(self, key, value)

    monkeypatch.setattr(optuna.Study, "set_user_attr", watched)
    study.count_rejected({})
    study.count_rejected({"macs": 1})
    study.count_rejected({"macs": 1})
    assert written == ["rejected"]


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
