"""Jobs on the machines of a Ray cluster, or of one that is begun here; the one file with Ray in it.

Ray Tune runs in a thread of its own. Its searcher suggests the jobs that the study loop gives, its
scheduler lets a network go on to the next rung where the loop says so, and what becomes of a job
goes back to the loop, which alone decides and writes: nothing that Tune knows outlives the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import queue
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.config import RunConfig
from search.executors import Load, NowAndThen, OnProgress, load, use_threads
from search.jobs import Ended, Failed, Job, Lost, Scored, Train, attempt, train
from search_space import UserError
from search_space.optional import import_optional

if TYPE_CHECKING:
    from trainers.data import DataSplits

os.environ.update(
    RAY_CHDIR_TO_TRIAL_DIR="0",
    RAY_AIR_NEW_OUTPUT="0",
    RAY_DEDUP_LOGS_SKIP_REGEX=".",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_GLOBAL_CHECKPOINT_S="1000000000",
    TUNE_PRINT_ALL_TRIAL_ERRORS="0",
)
"""Before Ray is imported: Tune leaves the directory of a worker alone, writes no tables and no copy
of its state, and both are silent."""
ray: Any = import_optional("ray", extra="ray")
tune: Any = import_optional("ray.tune", extra="ray")

OBJECT_STORE_BYTES = 100 * 2**20
"""Jobs and scores are small; Ray would reserve a third of the memory."""
STEPS_EVERY_S = 1.0
"""A training waits until Tune has heard of its updates, some hundredths of a second."""
CONNECTS_WITHIN_S = 5.0
ENDS_WITHIN_S = 10.0


class Ray:
    """Jobs as trials of Ray Tune; a context manager, that ends them and leaves the cluster.

    Args:
        config: What workers load the data of.
        on_progress: Told of each job's updates.
        address: ``HOST:PORT`` of a cluster, or ``auto`` for the one of this machine; a cluster of
            this machine alone is begun, and ended, for None.
        workers: The most jobs at once; as many as the cluster has CPUs for unless told otherwise.
        threads: Of each job, which so many CPUs are reserved for.
        how: Does a job; a function of a module that workers can import, as ``loading`` is.

    Raises:
        UserError: there is no such cluster, or none with so many CPUs.
    """

    def __init__(
        self,
        config: RunConfig,
        on_progress: OnProgress,
        *,
        address: str | None = None,
        workers: int | None = None,
        threads: int = 1,
        how: Train = train,
        loading: Load = load,
    ) -> None:
        self._on_progress = on_progress
        self._workers = workers
        self._threads = threads
        self._exchange = _Exchange()
        self._doing: dict[int, Job] = {}
        self._asking: int | None = None
        self._leaving = contextlib.ExitStack()
        with contextlib.ExitStack() as begun:
            folder = begun.enter_context(
                tempfile.TemporaryDirectory(prefix="search-ray-", ignore_cleanup_errors=True)
            )
            begun.callback(_end_ray)
            _begin_ray(address, workers * threads if workers else os.cpu_count(), folder)
            if self._room < 1:
                raise UserError(
                    f"--threads {threads} needs as many CPUs, the Ray cluster has"
                    f" {ray.cluster_resources().get('CPU', 0):g} in all"
                )
            doing = tune.with_parameters(
                _work, search=config, threads=threads, how=how, loading=loading
            )
            self._thread = threading.Thread(
                target=_tune, args=(doing, self._exchange, threads, folder), daemon=True
            )
            self._thread.start()
            self._leaving = begun.pop_all()

    def __enter__(self) -> Ray:
        return self

    def __exit__(self, *_: object) -> None:
        self._exchange.over.set()
        self._exchange.given.put(None)
        self._exchange.words.put(False)
        self._thread.join(ENDS_WITHIN_S)
        self._leaving.close()  # which ends the workers, whatever they are doing

    @property
    def _room(self) -> int:
        """How many jobs there are CPUs for; changes when machines come and go."""
        room = int(ray.cluster_resources().get("CPU", 0)) // self._threads
        return room if self._workers is None else min(room, self._workers)

    @property
    def free(self) -> int:
        return max(self._room - len(self._doing), 0)

    @property
    def busy(self) -> int:
        return len(self._doing)

    def give(self, job: Job) -> None:
        number = job.trial.number
        self._doing[number] = job
        if number == self._asking:
            self._answer(True)
        else:
            self._exchange.given.put(job)

    def wait(self, timeout_s: float | None) -> Sequence[Ended]:
        """What has become of jobs.

        Raises:
            UserError: workers cannot begin, or Ray has ended.
        """
        self._answer(False)  # another rung would have been given by now
        try:
            message = self._exchange.told.get(timeout=timeout_s)
        except queue.Empty:
            return []
        if isinstance(message, Exception):
            raise message
        number, what = message
        job = self._doing[number]
        match what:
            case (int(step), int(steps)):
                self._on_progress(job, step, steps)
                return []
            case Scored() | Failed():
                self._asking = number
                ended: Ended = dataclasses.replace(what, job=job)
            case reason:
                ended = Lost(job=job, reason=reason)
        del self._doing[number]
        return [ended]

    def _answer(self, goes_on: bool) -> None:
        """Tells the trial that waits for it whether its network goes on to the next rung."""
        if self._asking is not None:
            self._asking = None
            self._exchange.words.put(goes_on)


def _begin_ray(address: str | None, cpus: int | None, folder: str) -> None:
    """Joins a cluster, or begins one with so many CPUs that keeps its state in ``folder``."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": folder,
        }
    else:
        must_answer(address)
    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except Exception as error:  # of many kinds, some of them of no other kind
        where = "Ray cannot be begun here" if address is None else f"no Ray cluster at {address}"
        hint = "" if address is None else "; `ray start --head` on a machine begins one"
        raise UserError(f"{where}: {_first_line(error)}{hint}") from None


def must_answer(address: str) -> None:
    """Raises UserError where nobody listens; Ray would try for a minute, and then end us."""
    if address == "auto":
        return  # it is Ray that knows where
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit() or int(port) > 65_535:
        raise UserError(
            f"--address {address} must be auto, or HOST:PORT as `ray start --head` shows it"
        )
    try:
        socket.create_connection((host, int(port)), CONNECTS_WITHIN_S).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster at {address}: {error.strerror or error};"
            " `ray start --head` on a machine begins one"
        ) from None


def _end_ray() -> None:
    with contextlib.suppress(Exception):
        ray.shutdown()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


# --- In the thread of Tune ------------------------------------------------------------------------


class _SearchOver(BaseException):
    """No Exception: after one Tune would wait for the steps that its workers are in."""


class _Exchange:
    """What passes between the thread of the loop and that of Tune."""

    def __init__(self) -> None:
        self.given: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        """Of a trial by its number: (updates done, of how many), its end, or why it was lost."""
        self.words: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """Whether the trial whose end was told last goes on; Tune waits for each."""
        self.over = threading.Event()

    def check(self) -> None:
        """Ends Tune once the search is over."""
        if self.over.is_set():
            raise _SearchOver


def _tune(doing: Any, exchange: _Exchange, threads: int, folder: str) -> None:
    """Runs Tune until the search is over, and tells if it ends before."""
    try:
        tune.run(
            doing,
            search_alg=_Jobs(exchange),
            scheduler=_Rungs(exchange),
            callbacks=[_Over(exchange)],
            num_samples=sys.maxsize,
            resources_per_trial={"cpu": threads},
            reuse_actors=True,
            storage_path=os.path.join(folder, "tune"),
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
            raise_on_failed_trial=False,
            verbose=0,
        )
        error = UserError("Ray Tune has ended")
    except _SearchOver:
        return
    except Exception as caught:
        error = UserError(f"Ray Tune has ended by {_first_line(caught)}")
    exchange.told.put(error)


class _Jobs(tune.search.Searcher):  # type: ignore[misc]
    """Suggests what the loop has given."""

    def __init__(self, exchange: _Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._running: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        try:
            # With no trial running Tune has nothing to do but wait, and would look once a second.
            job = self._exchange.given.get(block=not self._running)
        except queue.Empty:
            return None
        self._exchange.check()
        self._running.add(trial_id)
        return {"job": job}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study knows."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class _Rungs(tune.schedulers.FIFOScheduler):  # type: ignore[misc]
    """Lets a network go on to its next rung where the loop does."""

    def __init__(self, exchange: _Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        told = result["told"]
        if isinstance(told, UserError):
            self._exchange.told.put(told)
            return str(self.STOP)
        self._exchange.told.put((_number(trial), told))
        goes_on = isinstance(told, tuple) or self._exchange.words.get()
        self._exchange.check()
        return str(self.CONTINUE if goes_on else self.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._exchange.told.put((_number(trial), _how_it_ended(trial)))


def _number(trial: Any) -> int:
    job: Job = trial.config["job"]
    return job.trial.number


def _how_it_ended(trial: Any) -> str:
    """The line that tells most of why a worker is lost."""
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8")
    except OSError:
        return "without a word"
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    raised = any(line.startswith("File ") for line in lines)
    return f"with: {lines[-1 if raised else 0][:300]}" if lines else "without a word"


class _Over(tune.Callback):  # type: ignore[misc]
    """Ends Tune with the search."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._exchange.check()


# --- In the worker --------------------------------------------------------------------------------

_data: Mapping[int, DataSplits] | None = None
"""Loaded once; a process of Ray works for one driver."""


def _work(
    told: dict[str, Any], *, search: RunConfig, threads: int, how: Train, loading: Load
) -> None:
    """Does a job, and those of the same network's next rungs until Tune ends it in a report."""
    global _data
    job: Job = told["job"]
    if _data is None:
        try:
            _data = loading(search)
        except UserError as error:
            tune.report({"told": error})
            return
    use_threads(threads)  # of this thread; each trial has its own
    for rung in search.rungs[len(job.trial.rungs) :]:
        on_step = NowAndThen(lambda *done: tune.report({"told": done}), STEPS_EVERY_S)
        ended = attempt(dataclasses.replace(job, rung=rung), _data, on_step, how)
        tune.report({"told": ended})
