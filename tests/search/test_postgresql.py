"""Drivers that share a study in a PostgreSQL server, which is cut off and goes away at times."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from results.folder import RunFolder
from results.patience import StorageFailed
from results.storage import open_storage
from results.study import Study
from results.trial import Proposal, Score, Trial
from results.urls import PASSWORD
from search_space import SpecError, UserError

HERE = Path(__file__).parent
SCRIPT = HERE / "shared_study.py"
pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def beside() -> Iterator[pytest.MonkeyPatch]:
    """The modules beside this one can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        yield patch


@pytest.fixture(scope="module")
def server(beside: pytest.MonkeyPatch) -> Iterator[Any]:
    import postgres_server

    try:
        with postgres_server.server() as started:
            beside.setenv("PGPASSWORD", postgres_server.PASSWORD)
            yield started
    except postgres_server.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def url(server: Any, request: pytest.FixtureRequest) -> str:
    """Of an empty database."""
    return str(server.new_database(request.node.name))


@contextmanager
def driving(
    count: int, folder: Path, url: str, trials: int, **environment: str
) -> Iterator[list[subprocess.Popen[str]]]:
    """So many drivers, each training by itself; what they say goes into files beside their
    folders."""
    processes = []
    for number in range(count):
        with (folder / f"{number}.txt").open("a") as errors:
            processes.append(
                subprocess.Popen(
                    [sys.executable, SCRIPT, folder / str(number), url, str(trials), "0"],
                    stderr=errors,
                    env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                    text=True,
                )
            )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def said(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("*.txt")))


def trials(url: str) -> list[Trial]:
    try:
        return Study.load(url, "shared").trials()
    except UserError:  # it is being made
        return []


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def check_complete(found: list[Trial], wanted: int) -> None:
    """So many networks stand complete, each once, with the score that follows from it."""
    assert [t.number for t in found] == list(range(len(found)))
    states = Counter(t.state for t in found)
    assert states["complete"] == wanted
    assert states.keys() <= {"complete", "withdrawn"}
    complete = [t for t in found if t.state == "complete"]
    assert len({t.proposal.spec.id for t in complete}) == wanted
    for trial in complete:
        assert trial.score is not None
        assert trial.score.accuracy == int(trial.proposal.spec.id[:4], 16) / 0xFFFF


# --- Many at once ---------------------------------------------------------------------------------


@contextmanager
def dashboard(folder: Path, url: str, asked: Counter[int]) -> Iterator[None]:
    """The dashboard of the study, whose page asks again and again; counts the answers by status."""
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    import optuna_dashboard

    class Silent(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    app = optuna_dashboard.wsgi(open_storage(url))
    over = threading.Event()
    with make_server("127.0.0.1", 0, app, WSGIServer, Silent) as served:
        serving = threading.Thread(target=served.serve_forever)
        serving.start()

        def ask() -> None:
            address = f"http://127.0.0.1:{served.server_port}/api/studies"
            while not over.wait(0.5):
                for page in (address, f"{address}/1?after=0"):
                    with urllib.request.urlopen(page, timeout=60) as answer:
                        asked[answer.status] += len(answer.read()) > 2

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            over.set()
            asking.join()
            served.shutdown()
            serving.join()


def test_eight_drivers_share_two_hundred_trials(url: str, tmp_path: Path) -> None:
    asked: Counter[int] = Counter()
    with driving(8, tmp_path, url, 200, STEP_S="0.01") as processes:
        until(lambda: trials(url), "nobody begins")
        with dashboard(tmp_path, url, asked):
            codes = [process.wait(timeout=900) for process in processes]
    assert codes == [0] * 8, said(tmp_path)
    found = trials(url)
    check_complete(found, 200)
    assert len({t.owner for t in found if t.state == "complete"}) == 8
    assert set(asked) == {200}
    assert asked[200] > 2, "the dashboard has answered meanwhile"


# --- Cut off --------------------------------------------------------------------------------------


def test_connections_that_are_cut_and_a_server_that_is_away_cost_nothing(
    server: Any, url: str, tmp_path: Path
) -> None:
    with driving(3, tmp_path, url, 60, STEP_S="0.05") as processes:
        for reached in (4, 8, 12, 16, 20):
            until(lambda reached=reached: len(trials(url)) >= reached, "nothing goes on")
            assert server.cut() > 0
        server.stop("immediate")
        time.sleep(4)
        assert [process.poll() for process in processes] == [None] * 3, said(tmp_path)
        server.start()
        codes = [process.wait(timeout=600) for process in processes]
    assert codes == [0] * 3, said(tmp_path)
    assert said(tmp_path) == ""
    check_complete(trials(url), 60)


def test_a_server_that_stays_away_ends_drivers_with_a_sentence_and_they_go_on_later(
    server: Any, url: str, tmp_path: Path
) -> None:
    with driving(2, tmp_path, url, 12, STEP_S="0.1", PATIENCE_S="2") as processes:
        until(lambda: len(trials(url)) >= 4, "nothing goes on")
        server.stop("immediate")
        try:
            codes = [process.wait(timeout=300) for process in processes]
        finally:
            server.start()
    assert codes == [2, 2], said(tmp_path)
    for line in said(tmp_path).splitlines():
        assert line.startswith(f"search: the storage '{url}' failed: ")
        assert "what it holds is kept: see to it, then go on with `search resume`" in line
    assert len(said(tmp_path).splitlines()) == 2
    with driving(2, tmp_path, url, 12, STEP_S="0.01") as processes:
        assert [process.wait(timeout=600) for process in processes] == [0, 0], said(tmp_path)
    check_complete(trials(url), 12)


def test_a_trial_that_is_begun_twice_as_its_connection_was_cut_is_withdrawn(
    url: str, beside: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever began it does not know that it is written."""
    import shared_study
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import OperationalError

    from search.jobs import Scored
    from search.loop import Loop
    from searchers import Admission, make_searcher

    config = shared_study.configured(2)
    inside = config.limits.feasible(config.space)
    study = Study.create(url, "shared", config.to_settings())
    original, cuts = RDBStorage._create_new_trial, [1]

    def cut(self: RDBStorage, *arguments: Any) -> Any:
        made = original(self, *arguments)
        if cuts:
            cuts.pop()
            raise StorageInternalError from OperationalError("COMMIT", None, Exception("cut"))
        return made

    monkeypatch.setattr(RDBStorage, "_create_new_trial", cut)
    admission = Admission(config.limits.ratios, inside, config.limits.known)
    searcher = make_searcher("random", config.space, admission, config.seed)
    with Loop(config, study, searcher) as loop:
        jobs = []
        while (job := loop.take()) is not None:
            jobs.append(job)
        assert sorted(job.trial.number for job in jobs) == [0, 2]
        for job in jobs:
            score = Score(accuracy=shared_study.accuracy(job.trial), loss=1.0, epochs=1, wall_s=1.0)
            loop.ended(Scored(job=job, score=score))
        assert loop.finished
    states = [(t.state, t.failure) for t in trials(url)]
    assert states[1] == ("withdrawn", "trial 0 is the same network")
    check_complete(trials(url), 2)


# --- What a study rests on ------------------------------------------------------------------------


@pytest.fixture
def studies(url: str, beside: pytest.MonkeyPatch) -> list[Study]:
    """The same study, as eight processes have opened it."""
    import shared_study

    settings = shared_study.configured(1).to_settings()
    return [Study.join(url, "shared", settings) for _ in range(8)]


def begin(study: Study, seed: int, owner: str = "a") -> Trial:
    import numpy as np
    import shared_study

    config = shared_study.configured(1)
    rng = np.random.default_rng(seed)
    while True:
        choices = config.space.sample(rng)
        with contextlib.suppress(SpecError):  # not every combination is a network
            spec = config.space.decode(choices)
            break
    proposal = Proposal(choices=choices, spec=spec)
    return study.start(config.space, proposal, config.limits.estimate(spec), {}, owner)


def test_numbers_are_given_once_and_in_the_order_of_commits(studies: list[Study]) -> None:
    def work(number: int) -> list[tuple[int, set[int]]]:
        seen = []
        for turn in range(6):
            trial = begin(studies[number], seed=10 * number + turn)
            seen.append((trial.number, {t.number for t in studies[number].trials()}))
        return seen

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        seen = [pair for pairs in pool.map(work, range(8)) for pair in pairs]
    assert sorted(number for number, _ in seen) == list(range(48))
    for number, all_seen in seen:
        assert set(range(number)) <= all_seen, "every lower number can be seen"


def test_of_many_ends_at_once_one_stands(studies: list[Study]) -> None:
    """Each writes the attributes of its end before the end itself; the values are the end's."""
    for turn in range(6):
        trial = begin(studies[0], seed=turn)
        together = threading.Barrier(8)

        def end(number: int, trial: Trial = trial, together: Any = together) -> Trial:
            together.wait()
            if number % 2:
                return studies[number].fail(trial, f"reason {number}")
            score = Score(accuracy=number / 10, loss=1.0, epochs=1, wall_s=1.0)
            return studies[number].complete(trial, score)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            ends = list(pool.map(end, range(8)))
        (state,) = {t.state for t in ends}
        assert state in ("complete", "failed")
        assert len({t.score.accuracy for t in ends if t.score is not None}) <= 1


# --- Passwords ------------------------------------------------------------------------------------


def test_a_password_is_not_written_down_and_asked_for_later(
    server: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from postgres_server import PASSWORD as SECRET

    monkeypatch.delenv("PGPASSWORD")
    given = server.url(url.rpartition("/")[2], "not%2Fso%40secret")
    folder = RunFolder.create(tmp_path / "run", given, {"version": 1})
    assert folder.study().settings == {"version": 1}
    written = (tmp_path / "run" / "run.yaml").read_text()
    assert "secret" not in written
    assert url in written
    later = RunFolder.open(tmp_path / "run")
    with pytest.raises(UserError, match=r"no password supplied .*give it in PGPASSWORD, ~/.pgpass"):
        later.study()
    for name in ("PGPASSWORD", PASSWORD):
        with monkeypatch.context() as patch:
            patch.setenv(name, SECRET)
            assert later.study().settings == {"version": 1}
        with monkeypatch.context() as patch:
            patch.setenv(name, "wrong")
            with pytest.raises(UserError, match="password authentication failed"):
                later.study()


def test_a_study_whose_tables_are_gone_is_said_to_have_failed(server: Any, url: str) -> None:
    study = Study.create(url, "run", {"version": 1})
    server.ask("DROP TABLE trials CASCADE", url.rpartition("/")[2])
    with pytest.raises(StorageFailed, match='relation "trials" does not exist'):
        study.trials()
