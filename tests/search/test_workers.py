"""Worker processes that do jobs, fail, are killed, and end with their driver."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from results.folder import RunFolder
from results.study import Study
from results.trial import Trial
from results.urls import sqlite_url
from search import runner
from search.cli import main
from search.jobs import Failed, Job, Lost, Scored
from search.runner import Ready
from search.workers import Workers
from search_space import UserError

HERE = Path(__file__).parent
SCRIPT = HERE / "shared_study.py"


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The pretended trainings, where workers find them, too."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("STEP_S", "0.01")
    import shared_study

    return shared_study


Begin = Callable[..., Workers]


@pytest.fixture
def begin(pretended: ModuleType) -> Iterator[Begin]:
    made: list[Workers] = []

    def make(count: int = 1, **options: Any) -> Workers:
        options = {"how": pretended.pretend, "loading": pretended.no_data, **options}
        progress = options.pop("on_progress", lambda *_: None)
        made.append(Workers(count, pretended.configured(4), progress, **options))
        return made[-1]

    yield make
    for workers in made:
        workers.__exit__()


@pytest.fixture
def job(pretended: ModuleType, tmp_path: Path) -> Callable[[int], Job]:
    """The job of a trial of some number."""
    config = pretended.configured(9)
    proposal = {d.name: d.choices[0] for d in config.space.dimensions}
    spec = config.space.decode(proposal)
    estimate = config.limits.estimate(spec)

    def make(number: int) -> Job:
        from results.trial import Proposal

        trial = Trial(
            number=number,
            state="running",
            proposal=Proposal(choices=proposal, spec=spec),
            estimate=estimate,
        )
        return Job(trial=trial, rung=config.rungs[0], recipe=config.recipe, seed=1)

    return make


def until_free(workers: Workers, count: int = 1) -> None:
    while workers.free < count:
        assert workers.wait(60) == []


def events(workers: Workers, count: int) -> list[Any]:
    found: list[Any] = []
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline, "nothing happened"
        found += workers.wait(60)
    return found


def next_event(workers: Workers) -> Any:
    (event,) = events(workers, 1)
    return event


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers outlive their driver"
        time.sleep(0.05)


def test_jobs_are_done_and_progress_is_told(
    begin: Begin, job: Callable[[int], Job], pretended: ModuleType
) -> None:
    steps: list[tuple[int, int, int]] = []
    workers = begin(2, on_progress=lambda job, *step: steps.append((job.trial.number, *step)))
    until_free(workers, 2)
    for number in (0, 2):
        workers.give(job(number))
    assert (workers.free, workers.busy) == (0, 2)
    found = events(workers, 2)
    assert {event.job.trial.number for event in found} == {0, 2}
    for event in found:
        assert isinstance(event, Scored)
        assert event.score.accuracy == pretended.accuracy(event.job.trial)
    assert (workers.free, workers.busy) == (2, 0)
    assert {step[0] for step in steps} == {0, 2}


def test_an_error_in_a_training_is_a_sentence_and_the_worker_goes_on(
    begin: Begin, job: Callable[[int], Job], pretended: ModuleType
) -> None:
    workers = begin(how=pretended.faulty)
    until_free(workers)
    (pid,) = workers.pids
    reasons = {}
    for number in (1, 3):
        workers.give(job(number))
        event = next_event(workers)
        assert isinstance(event, Failed)
        reasons[number] = event.reason
    assert reasons[1].startswith(
        "the training broke off with ValueError: image 17 has no pixels (shared_study.py, line "
    )
    assert reasons[3] == "out of memory"
    workers.give(job(0))
    assert isinstance(next_event(workers), Scored)
    assert workers.pids == [pid]


def test_a_worker_that_dies_loses_its_job_only_and_is_replaced(
    begin: Begin, job: Callable[[int], Job], pretended: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_S", "0.3")
    workers = begin(2)
    until_free(workers, 2)
    for number in (0, 2):
        workers.give(job(number))
    before = workers.pids
    os.kill(before[0], signal.SIGKILL)
    lost = next_event(workers)
    assert isinstance(lost, Lost)
    assert (lost.job.trial.number, lost.reason) == (
        0,
        "by SIGKILL, as where memory does not suffice",
    )
    done = next_event(workers)
    assert isinstance(done, Scored)
    assert done.job.trial.number == 2
    until_free(workers, 2)
    assert workers.pids[1] == before[1]
    assert workers.pids[0] != before[0]
    workers.give(lost.job)
    assert isinstance(next_event(workers), Scored)


def test_a_crash_in_a_library_is_told_by_its_signal(
    begin: Begin, job: Callable[[int], Job], pretended: ModuleType
) -> None:
    workers = begin(how=pretended.faulty)
    until_free(workers)
    workers.give(job(5))
    lost = next_event(workers)
    assert isinstance(lost, Lost)
    assert lost.reason == "by SIGSEGV"


def test_workers_that_cannot_begin_say_why(begin: Begin, pretended: ModuleType) -> None:
    with pytest.raises(UserError, match="the images are gone"):
        until_free(begin(loading=pretended.no_images))
    with pytest.raises(UserError, match=r"3 workers in a row ended .* the last with exit code 7"):
        until_free(begin(loading=pretended.no_start))


def test_each_has_the_threads_it_was_given(begin: Begin, job: Callable[[int], Job]) -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    workers = begin(1, threads=3)
    until_free(workers)
    environment = Path(f"/proc/{workers.pids[0]}/environ").read_bytes().split(b"\0")
    assert b"OMP_NUM_THREADS=3" in environment
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_workers_end_with_their_context(begin: Begin) -> None:
    workers = begin(2)
    pids = workers.pids
    workers.__exit__()
    until_gone(pids)


# --- Drivers --------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_driver_and_another_goes_on(
    sent: signal.Signals, tmp_path: Path
) -> None:
    url = sqlite_url(tmp_path / "s.db")
    arguments = [sys.executable, str(SCRIPT), str(tmp_path / "run"), url, "3"]
    process = subprocess.Popen(
        [*arguments, "2"],
        env={**os.environ, "STEP_S": "5"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    running: list[Trial] = []
    while len(running) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        try:
            running = Study.load(url, "shared").trials()
        except UserError:
            assert process.poll() is None
    workers = children(process.pid)
    assert len(workers) >= 2
    if sent == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to the workers too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (4 if sent == signal.SIGINT else -sent)
    assert errors == "", "nobody complains"
    until_gone(workers)
    left = Study.load(url, "shared").trials()
    assert [t.state for t in left] == ["running", "running"]
    assert all((t.owner is None) == (sent == signal.SIGINT) for t in left)

    begun = time.monotonic()
    done = subprocess.run([*arguments, "0"], env={**os.environ, "STEP_S": "0.01"}, text=True)
    assert done.returncode == 0
    assert time.monotonic() - begun < 30, "what nobody trains is taken at once"
    after = Study.load(url, "shared").trials()
    assert [t.state for t in after] == ["complete"] * 3
    assert [t.proposal for t in after[:2]] == [t.proposal for t in left]


def test_a_full_disk_is_a_sentence_and_the_study_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    url = sqlite_url(tmp_path / "s.db")
    arguments = [sys.executable, str(SCRIPT), str(tmp_path / "run"), url, "12", "0"]
    environment = {**os.environ, "STEP_S": "0"}
    full = subprocess.run(
        arguments,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (180_000, 180_000)),
    )
    assert full.returncode == 2
    last = full.stderr.strip().splitlines()[-1]
    assert last.startswith("search: the storage 'sqlite:///")
    assert "see to it, then go on with `search resume`" in last
    assert "Traceback" not in full.stderr
    before = Study.load(url, "shared").trials()
    assert 0 < len(before) < 12
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = Study.load(url, "shared").trials()
    assert sum(t.state == "complete" for t in after) == 12
    assert after[: len(before) - 1] == before[:-1]


def test_faults_of_all_kinds_cost_their_trials_only(pretended: ModuleType, tmp_path: Path) -> None:
    config = pretended.configured(6)
    folder = RunFolder.create(tmp_path / "run", None, config.to_settings())
    ready = Ready(inside=config.limits.feasible(config.space), data=pretended.no_data(config))
    outcome = runner.run(
        config,
        ready,
        folder,
        folder.study(),
        pretended.Silent(),
        make_executor=lambda progress: Workers(
            2, config, progress, how=pretended.faulty, loading=pretended.no_data
        ),
    )
    failures = {t.number: str(t.failure) for t in outcome.trials if t.state == "failed"}
    assert sorted(failures) == [1, 3, 5]
    assert "image 17 has no pixels" in failures[1]
    assert failures[3] == "out of memory"
    assert failures[5] == "3 processes that trained it ended, the last by SIGSEGV"
    assert sum(t.state == "complete" for t in outcome.trials) == 6


# --- The command ----------------------------------------------------------------------------------


def test_a_run_of_one_process_goes_on_with_two_and_the_other_way_round(
    search_arguments: list[str], search_json: Callable[..., Any], tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    search_json(*search_arguments, "--trials", "2", "--out", str(one), "--searcher", "random")
    search_json(
        *search_arguments, "--trials", "3", "--out", str(two), "--searcher", "random",
        "--workers", "2",
    )  # fmt: skip
    found = search_json("resume", str(one), "--trials", "4", "--workers", "2")
    assert (found["complete"], found["failed"], found["running"]) == (4, 0, 0)
    assert search_json("resume", str(two), "--trials", "4")["complete"] == 4
    columns = {
        path: [(t.number, t.proposal.spec.id) for t in RunFolder.open(path).study().trials()]
        for path in (one, two)
    }
    assert columns[one] == columns[two], "a random search does not depend on who trains"


def test_two_runs_share_a_study(
    search_arguments: list[str], search_json: Callable[..., Any], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shared = ["--storage", f"journal:{tmp_path}/s.log", "--study", "both", "--searcher", "random"]
    arguments = [*search_arguments, *shared, "--trials", "2"]
    first = search_json(*arguments, "--out", str(tmp_path / "one"))
    second = search_json(*arguments, "--out", str(tmp_path / "two"))
    assert first["complete"] == second["complete"] == 2
    assert second["best"]["number"] == first["best"]["number"]
    assert (tmp_path / "two" / "best" / "architecture.yaml").is_file()

    other = [*search_arguments, *shared, "--trials", "3", "--out", str(tmp_path / "three")]
    assert main(other) == 2
    assert "has other settings: `trials` is 3 here, 2 there" in capsys.readouterr().err
    assert main([*search_arguments, "--study", "both"]) == 2
    assert "--study both needs --storage" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--workers", "--threads"])
def test_fewer_than_one_is_refused(
    option: str, search_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*search_arguments, option, "0"]) == 2
    assert f"{option} 0 must be at least 1" in capsys.readouterr().err
