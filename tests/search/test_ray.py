"""Studies of Ray's workers, that fail, are killed, or lose the machine that they are on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
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
from search.runner import Outcome, Ready
from search_space import UserError

HERE = Path(__file__).parent
SCRIPT = HERE / "shared_study.py"
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The pretended trainings, where Ray's workers find them, too."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.setenv("STEP_S", "0.01")
    import shared_study

    return shared_study


def searched(
    pretended: ModuleType, path: Path, trials: int, display: Any = None, **options: Any
) -> Outcome:
    """A search by two workers of Ray."""
    from search.ray import Ray

    config = pretended.configured(trials)
    folder = RunFolder.create(path, None, config.to_settings())
    ready = Ready(inside=config.limits.feasible(config.space), data=pretended.no_data(config))
    options = {"workers": 2, "how": pretended.pretend, "loading": pretended.no_data, **options}
    return runner.run(
        config,
        ready,
        folder,
        folder.study(),
        display or pretended.Silent(),
        make_executor=lambda progress: Ray(config, progress, **options),
    )


def check_complete(outcome: Outcome, count: int) -> None:
    """Exactly so many networks are complete, each once, and no other was begun."""
    assert [t.state for t in outcome.trials] == ["complete"] * count
    assert len({t.proposal.spec.id for t in outcome.trials}) == count


# --- The command ----------------------------------------------------------------------------------


def test_ray_that_is_not_installed_is_a_sentence(
    search_arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "search.ray", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*search_arguments, "--executor", "ray"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("search: the library ray is needed and not installed: pip install")
    assert error.count("\n") == 1


def test_an_address_is_that_of_ray(
    search_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*search_arguments, "--address", "auto"]) == 2
    assert "--address auto is that of a Ray cluster: add --executor ray" in capsys.readouterr().err


@needs_ray
@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:9", "no Ray cluster at 127.0.0.1:9: Connection refused; `ray start --head`"),
        ("127.0.0.1", "--address 127.0.0.1 must be auto, or HOST:PORT as `ray start --head`"),
        ("ray://here:10001", "--address ray://here:10001 must be auto, or HOST:PORT"),
        ("here:99999", "--address here:99999 must be auto, or HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there_is_a_sentence(
    address: str, sentence: str, search_arguments: list[str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "run"
    arguments = [*search_arguments, "--executor", "ray", "--address", address, "--out", str(out)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"search: {sentence}")
    assert error.count("\n") == 1
    assert not out.exists()


@needs_ray
@pytest.mark.faults
def test_a_run_of_ray_goes_on_elsewhere_and_the_other_way_round(
    search_arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def search(*arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        printed = capfd.readouterr()
        assert printed.err == "", "Ray says nothing"
        return json.loads(printed.out)

    by_ray, by_one = tmp_path / "ray", tmp_path / "one"
    epochs = search_arguments.index("--epochs")
    others = search_arguments[:epochs] + search_arguments[epochs + 2 :]
    begin = [*others, "--searcher", "random", "--rungs", "1,2"]
    ray = ["--executor", "ray", "--workers", "1"]
    found = search(*begin, "--trials", "3", "--out", str(by_ray), *ray)
    assert (found["complete"], found["failed"], found["running"]) == (3, 0, 0)
    assert search("resume", str(by_ray), "--trials", "4")["complete"] == 4

    search(*begin, "--trials", "2", "--out", str(by_one))
    assert search("resume", str(by_one), "--trials", "4", *ray)["complete"] == 4
    trials = {path: RunFolder.open(path).study().trials() for path in (by_ray, by_one)}
    ids = [[t.proposal.spec.id for t in trials[path]] for path in (by_ray, by_one)]
    assert ids[0] == ids[1], "a random search does not depend on who trains"
    assert len(set(ids[0])) == 4
    assert max(len(t.rungs) for t in trials[by_ray][:3]) == 2, "some go on to a second rung"


# --- What goes wrong ------------------------------------------------------------------------------


@needs_ray
@pytest.mark.faults
def test_a_worker_that_is_killed_costs_nothing(
    pretended: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILLED", str(tmp_path / "killed"))
    outcome = searched(pretended, tmp_path / "run", 6, how=pretended.killed_once)
    assert (tmp_path / "killed").exists()
    check_complete(outcome, 6)


@needs_ray
@pytest.mark.faults
def test_faults_of_all_kinds_cost_their_trials_only(pretended: ModuleType, tmp_path: Path) -> None:
    outcome = searched(pretended, tmp_path / "run", 4, how=pretended.faulty)
    failures = {t.number: str(t.failure) for t in outcome.trials if t.state == "failed"}
    assert sorted(failures) == [1, 3, 5]
    assert "image 17 has no pixels" in failures[1]
    assert failures[3] == "out of memory"
    assert failures[5].startswith(
        "3 processes that trained it ended, the last with: The actor died"
    )
    assert sum(t.state == "complete" for t in outcome.trials) == 4


@needs_ray
@pytest.mark.faults
def test_workers_that_cannot_begin_say_why(pretended: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the images are gone"):
        searched(pretended, tmp_path / "run", 2, loading=pretended.no_images)
    (trial,) = RunFolder.open(tmp_path / "run").study().trials()[:1]
    assert (trial.state, trial.owner) == ("running", None)
    with pytest.raises(UserError, match=r"--threads 99 needs as many CPUs, the Ray cluster has \d"):
        searched(pretended, tmp_path / "other", 2, workers=None, threads=99)


@needs_ray
@pytest.mark.faults
def test_a_machine_that_goes_takes_no_trial_with_it(
    pretended: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("STEP_S", "0.2")
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        other = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        cluster.wait_for_nodes()

        class Removing(pretended.Silent):  # type: ignore[name-defined, misc]
            """Takes the second machine away while both train."""

            trained: set[int]

            def __init__(self) -> None:
                self.trained = set()

            def trial_step(self, trial: Trial, step: int, steps: int) -> None:
                self.trained.add(trial.number)
                if len(self.trained) == 2 and cluster.list_all_nodes() != [cluster.head_node]:
                    cluster.remove_node(other)

        removing = Removing()
        outcome = searched(
            pretended, tmp_path / "run", 6, removing, workers=None, address=cluster.address
        )
        assert cluster.list_all_nodes() == [cluster.head_node], "it was taken away"
        check_complete(outcome, 6)
    finally:
        cluster.shutdown()


@needs_ray
@pytest.mark.faults
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_driver_and_another_goes_on(
    sent: signal.Signals, tmp_path: Path
) -> None:
    url = sqlite_url(tmp_path / "s.db")
    arguments = [sys.executable, str(SCRIPT), str(tmp_path / "run"), url, "3"]
    process = subprocess.Popen(
        [*arguments, "2", "ray"],
        env={**os.environ, "STEP_S": "5", "TMPDIR": "/tmp"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (workers := trainers(process.pid)):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    if sent == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (4 if sent == signal.SIGINT else -sent)
    assert errors == "", "nobody complains"
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their driver"
        time.sleep(0.1)
    left = Study.load(url, "shared").trials()
    assert {t.state for t in left} == {"running"}
    assert all((t.owner is None) == (sent == signal.SIGINT) for t in left)

    done = subprocess.run([*arguments, "0"], env={**os.environ, "STEP_S": "0.01"}, text=True)
    assert done.returncode == 0
    after = Study.load(url, "shared").trials()
    assert [t.state for t in after] == ["complete"] * 3
    assert [t.proposal for t in after[: len(left)]] == [t.proposal for t in left]


def trainers(driver: int) -> list[int]:
    """The processes below a driver that are workers of Ray with a trial."""
    parents: dict[int, int] = {}
    named: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        pid = int(path.name)
        parents[pid] = int(stat.rpartition(")")[2].split()[1])
        if b"ray::ImplicitFunc" in command:
            named.append(pid)

    def is_below(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == driver:
                return True
        return False

    return [pid for pid in named if is_below(pid)]
