"""Loops that share a study, with nothing trained: who does what, and what becomes of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest

from results.ownership import LEASE_S, Owner, Watch
from results.study import Study
from results.trial import Score, Trial
from results.urls import sqlite_url
from search.config import RunConfig
from search.jobs import Ended, Failed, Job, Lost, Scored
from search.limits import Limits
from search.loop import MOST_FAILURES_IN_A_ROW, MOST_LOSSES, Loop
from search_space import SearchSpace, UserError, space
from searchers import Admission, make_searcher
from searchers.random import RandomSearcher
from searchers.rungs import Halving

ELSEWHERE = Owner(host="another/1/1", pid=1, started=1, token="00000001")


def scored(job: Job, accuracy: float = 0.5) -> Ended:
    return Scored(job=job, score=Score(accuracy=accuracy, loss=1.0, epochs=1, wall_s=1.0))


@pytest.fixture
def config(space_file: Path) -> RunConfig:
    return RunConfig(
        space=space(str(space_file)),
        limits=Limits(macs=1_000_000),
        searcher="random",
        data="digits",
        trials=4,
    )


@pytest.fixture
def url(config: RunConfig, tmp_path: Path) -> str:
    url = sqlite_url(tmp_path / "s.db")
    Study.create(url, "run", config.to_settings())
    return url


Begin = Callable[..., Loop]


@pytest.fixture
def begin(config: RunConfig, url: str) -> Iterator[Begin]:
    """A process that begins to work on the study."""
    inside = config.limits.feasible(config.space)
    with ExitStack() as stack:

        def make(owner: Owner | None = None, searcher: str = "random", **changes: Any) -> Loop:
            with_changes = dataclasses.replace(config, **changes)
            admission = Admission(config.limits.ratios, inside, config.limits.known)
            asked = make_searcher(searcher, config.space, admission, config.seed)
            return stack.enter_context(Loop(with_changes, Study.load(url, "run"), asked, owner))

        yield make


def take(loop: Loop) -> Job:
    job = loop.take()
    assert job is not None
    return job


def trials(url: str) -> list[Trial]:
    return Study.load(url, "run").trials()


def test_one_loop_hands_out_as_many_as_are_wanted(begin: Begin, url: str) -> None:
    loop = begin()
    jobs = [take(loop) for _ in range(4)]
    assert loop.take() is None
    assert not loop.finished
    for job in jobs:
        loop.ended(scored(job))
    assert loop.finished
    assert loop.take() is None
    assert [t.number for t in loop.news] == [0, 1, 2, 3]
    assert [t.state for t in trials(url)] == ["complete"] * 4
    assert len({job.seed for job in jobs}) == 4


def test_one_that_fails_is_made_up_for(begin: Begin, url: str) -> None:
    loop = begin(trials=1)
    loop.ended(Failed(job=take(loop), reason="no luck"))
    loop.ended(scored(take(loop)))
    assert loop.finished
    assert [(t.state, t.failure) for t in trials(url)] == [
        ("failed", "no luck"),
        ("complete", None),
    ]


def test_two_loops_share_what_is_wanted(begin: Begin, url: str) -> None:
    one, two = begin(), begin()
    jobs = [(loop, take(loop)) for loop in (one, two, one, two)]
    assert one.take() is two.take() is None
    assert (one.running_elsewhere, two.running_elsewhere) == (2, 2)
    loop, job = jobs.pop()
    loop.ended(Failed(job=job, reason="no luck"))
    jobs.append((one, take(one)))
    for loop, job in jobs:
        loop.ended(scored(job))
    for loop in (one, two):
        assert loop.take() is None
        assert loop.finished
        assert Counter(t.state for t in loop.trials.values()) == {"complete": 4, "failed": 1}
    assert len({t.proposal.spec.id for t in trials(url)}) == 5


class Racing(RandomSearcher):
    """Lets another process write its trial between the proposal and what is made of it."""

    def __init__(self, asked: RandomSearcher, meanwhile: Callable[[], object]) -> None:
        super().__init__(asked.space, asked.admission, asked.seed)
        self._meanwhile: Callable[[], object] | None = meanwhile

    def ask(self, number: int) -> Any:
        proposal = super().ask(number)
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return proposal


def test_of_two_that_begin_the_same_network_the_lower_number_trains_it(
    begin: Begin, url: str
) -> None:
    one, two = begin(), begin()
    assert isinstance(two.searcher, RandomSearcher)
    two.searcher = Racing(two.searcher, lambda: take(one))
    job = take(two)
    states = [(t.state, t.failure) for t in trials(url)]
    assert states == [
        ("running", None),
        ("withdrawn", "trial 0 is the same network"),
        ("running", None),
    ]
    assert job.trial.number == 2
    assert two._failures == 0


def test_of_two_that_begin_the_last_one_the_lower_number_trains_it(begin: Begin, url: str) -> None:
    one, two = begin(trials=1), begin(trials=1)
    two.searcher.seed = 1  # another network
    assert isinstance(two.searcher, RandomSearcher)
    two.searcher = Racing(two.searcher, lambda: take(one))
    assert two.take() is None
    withdrawn = trials(url)[1]
    assert (withdrawn.state, withdrawn.failure) == ("withdrawn", "1 others were begun before")
    assert not two.finished, "the other may fail"


def test_a_trial_that_was_released_is_taken_over_under_its_number(begin: Begin, url: str) -> None:
    one = begin()
    left = take(one)
    one.__exit__()
    assert trials(url)[0].owner is None
    taken = take(begin())
    assert (taken.trial.number, taken.seed) == (left.trial.number, left.seed)
    assert taken.trial.proposal == left.trial.proposal


def test_a_slow_process_keeps_its_trials_and_a_silent_one_does_not(begin: Begin, url: str) -> None:
    one, two = begin(ELSEWHERE, trials=1), begin(trials=1)
    now = [0.0]
    two._watch = Watch(Owner.here(), lambda: now[0])
    take(one)
    for beat in range(1, 4):
        one.study.beat(str(ELSEWHERE), beat)
        assert two.take() is None
        now[0] += LEASE_S - 1
        assert two.take() is None
    now[0] += 1
    assert take(two).trial.number == 0


def test_what_both_have_trained_is_ended_once(begin: Begin, url: str) -> None:
    one, two = begin(ELSEWHERE, trials=2), begin(trials=2)
    job = take(one)
    one.study.release(job.trial)
    again = take(two)
    assert again.trial.number == job.trial.number
    two.ended(scored(again, 0.5))
    one.ended(scored(job, 0.25))
    one.ended(Failed(job=job, reason="too late"))
    one.ended(Lost(job=job, reason="too late"))
    (trial,) = trials(url)
    assert trial.score is not None
    assert (trial.state, trial.score.accuracy) == ("complete", 0.5)
    assert take(one).trial.number == 1, "and not the one that is over"


def test_a_superfluous_trial_that_its_process_left_is_withdrawn(begin: Begin, url: str) -> None:
    """It was killed between the writing of the trial and the look at the others."""
    one = begin(trials=1)
    job = take(one)
    study, config = Study.load(url, "run"), one.config
    left = job.trial
    study.start(config.space, left.proposal, left.estimate, {}, None)
    two = begin(trials=1)
    assert two.take() is None
    assert [(t.state, t.failure) for t in trials(url)] == [
        ("running", None),
        ("withdrawn", "trial 0 is the same network"),
    ]
    one.ended(scored(job))
    assert one.complete == 1


@pytest.mark.parametrize("resumed", [False, True])
def test_a_superfluous_trial_is_withdrawn_by_whoever_ends_the_last_one_or_resumes(
    resumed: bool, begin: Begin, url: str
) -> None:
    """Its process was killed before it could, on a machine that nobody can ask."""
    one = begin(trials=1)
    job = take(one)
    study, left = Study.load(url, "run"), job.trial
    spec = one.config.space.decode(one.config.limits.feasible(one.config.space))
    other = dataclasses.replace(left.proposal, spec=spec)
    if resumed:
        one.ended(scored(job))
        study.start(one.config.space, other, left.estimate, {}, str(ELSEWHERE))
        found = begin(trials=1)
    else:
        study.start(one.config.space, other, left.estimate, {}, str(ELSEWHERE))
        one.ended(scored(job))
        found = one
    assert found.finished
    assert [(t.state, t.failure) for t in trials(url)] == [
        ("complete", None),
        ("withdrawn", "1 others were begun before"),
    ]
    assert list(found.trials.values()) == trials(url)


def test_what_another_process_trains_is_left_to_it(begin: Begin, url: str) -> None:
    """More are complete than a resumed run wants; the one that is running is not superfluous."""
    one = begin(trials=3)
    first, second = take(one), take(one)
    one.ended(scored(second))
    two = begin(trials=1)
    assert two.finished
    assert [t.state for t in trials(url)] == ["running", "complete"]
    one.ended(scored(first))
    assert [t.state for t in trials(url)] == ["complete", "complete"]


def test_a_trial_left_waiting_by_an_older_release_is_taken_up(begin: Begin, url: str) -> None:
    """It has its choices where Optuna's own `enqueue_trial` put them."""
    one = begin(ELSEWHERE, trials=2)
    proposal = one.searcher.ask(0)
    theirs = optuna.load_study(study_name="run", storage=url)
    attributes = {
        **dataclasses.asdict(one.config.limits.estimate(proposal.spec)),
        "spec": proposal.spec.to_json(),
        "notes": proposal.notes,
    }
    theirs.enqueue_trial(dict(proposal.choices), attributes)
    loop = begin(trials=1)
    job = take(loop)
    assert (job.trial.number, job.trial.proposal) == (0, proposal)
    loop.ended(scored(job))
    assert [(t.state, t.proposal) for t in trials(url)] == [("complete", proposal)]


def test_a_lost_job_is_handed_out_again_a_few_times(begin: Begin, url: str) -> None:
    loop = begin()
    first = take(loop)
    job = first
    for _ in range(MOST_LOSSES - 1):
        loop.ended(Lost(job=job, reason="by SIGKILL"))
        job = take(loop)
        assert job == first
    loop.ended(Lost(job=job, reason="by SIGKILL"))
    (trial,) = trials(url)
    assert trial.failure == "3 processes that trained it ended, the last by SIGKILL"
    assert take(loop).trial.number == 1


def test_many_failures_in_a_row_end_the_search(begin: Begin, url: str) -> None:
    loop = begin(trials=20)
    for _ in range(MOST_FAILURES_IN_A_ROW - 1):
        loop.ended(Failed(job=take(loop), reason="no luck"))
    loop.ended(scored(take(loop)))
    for _ in range(MOST_FAILURES_IN_A_ROW - 1):
        loop.ended(Failed(job=take(loop), reason="no luck"))
    with pytest.raises(UserError, match=r"the last 5 trainings failed, the last because bad luck"):
        loop.ended(Failed(job=take(loop), reason="bad luck"))
    assert loop.trials[9].state == "failed"


def test_a_trial_goes_on_through_its_rungs(begin: Begin, url: str) -> None:
    loop = begin(trials=1, halving=Halving.parse("1@8,2@8", resolution=8, keep=2))
    first = take(loop)
    loop.ended(scored(first, 0.25))
    second = take(loop)
    assert (second.trial.number, len(second.trial.rungs), second.seed) == (0, 1, first.seed)
    assert second.rung.epochs == 2
    loop.ended(scored(second, 0.75))
    (trial,) = trials(url)
    assert [score.accuracy for score in trial.rungs] == [0.25, 0.75]
    assert trial.score == trial.rungs[-1]


def test_a_searcher_expects_what_others_train(begin: Begin) -> None:
    one, two = begin(searcher="condense"), begin(searcher="condense")
    job = take(one)
    take(two)
    assert isinstance(one.config.space, SearchSpace)
    assert two.searcher._pending[0] == job.trial.proposal  # type: ignore[attr-defined]
    one.ended(scored(job))
    take(two)
    assert 0 not in two.searcher._pending  # type: ignore[attr-defined]
    assert 0 in two.searcher._complete  # type: ignore[attr-defined]


def test_rejections_of_all_processes_are_counted(begin: Begin, url: str) -> None:
    one, two = begin(), begin()
    for loop in (one, two, one):
        take(loop)
    own = [Counter(loop.searcher.admission.rejected) for loop in (one, two)]
    assert Study.load(url, "run").rejected == dict(own[0] + own[1])
