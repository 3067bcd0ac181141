"""Jobs in other processes of this machine, which may be killed at any moment.

Each worker loads the data once and does one job after the other, told and telling through a pipe
of its own. A worker that ends, however it does, closes its pipe: its job is lost, the others do
not notice, and another takes its place. A worker whose driver ends sees the same, and ends too.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from search.config import RunConfig
from search.executors import Load, NowAndThen, OnProgress, load, use_threads
from search.jobs import Ended, Job, Lost, Train, attempt, train
from search_space import UserError

MOST_STILLBORN = 3
"""Workers in a row that end before they are ready."""
STEPS_EVERY_S = 0.1
ENDS_WITHIN_S = 5.0
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PR_SET_PDEATHSIG = 1
_READY = "ready"


@dataclass(frozen=True, kw_only=True)
class _Refused:
    """A worker cannot begin, and neither could another."""

    reason: str


@dataclass(eq=False, kw_only=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    job: Job | None = None


class Workers:
    """So many processes; a context manager, that ends them.

    Args:
        count: How many.
        config: What they load the data of.
        on_progress: Told of each worker's updates.
        threads: Of each worker.
        how: Does a job; a function of a module, as ``loading`` is.
    """

    def __init__(
        self,
        count: int,
        config: RunConfig,
        on_progress: OnProgress,
        *,
        threads: int = 1,
        how: Train = train,
        loading: Load = load,
    ) -> None:
        self._arguments = (config, threads, how, loading)
        self._threads = threads
        self._on_progress = on_progress
        self._stillborn = 0
        self._workers = [self._begun() for _ in range(count)]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()  # it holds nothing that matters, and may be in a long step
        for worker in self._workers:
            worker.process.join(ENDS_WITHIN_S)
            worker.pipe.close()

    @property
    def free(self) -> int:
        return sum(worker.ready and worker.job is None for worker in self._workers)

    @property
    def busy(self) -> int:
        return sum(worker.job is not None for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """The numbers of the processes."""
        return [worker.process.pid or 0 for worker in self._workers]

    def give(self, job: Job) -> None:
        worker = next(w for w in self._workers if w.ready and w.job is None)
        worker.job = job
        with contextlib.suppress(OSError):  # it has just ended, which `wait` will see
            worker.pipe.send(job)

    def wait(self, timeout_s: float | None) -> Sequence[Ended]:
        """What has become of jobs.

        Raises:
            UserError: workers cannot begin.
        """
        by_pipe: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers}
        found = [self._heard(by_pipe[pipe]) for pipe in wait(list(by_pipe), timeout_s)]
        return [event for event in found if event is not None]

    def _heard(self, worker: _Worker) -> Ended | None:
        """What a worker has to say, its end included."""
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            return self._replaced(worker)
        if message == _READY:
            worker.ready, self._stillborn = True, 0
        elif isinstance(message, _Refused):
            raise UserError(message.reason)
        elif isinstance(message, tuple):
            if worker.job is not None:
                self._on_progress(worker.job, *message)
        else:
            worker.job = None
            ended: Ended = message
            return ended
        return None

    def _replaced(self, worker: _Worker) -> Ended | None:
        """Puts another in the place of a worker that has ended; its job is lost."""
        worker.process.join(ENDS_WITHIN_S)
        worker.pipe.close()
        how = _how_it_ended(worker.process.exitcode)
        self._stillborn += not worker.ready
        if self._stillborn == MOST_STILLBORN:
            raise UserError(
                f"{MOST_STILLBORN} workers in a row ended before they were ready, the last {how};"
                " try fewer --workers"
            )
        self._workers[self._workers.index(worker)] = self._begun()
        return Lost(job=worker.job, reason=how) if worker.job is not None else None

    def _begun(self) -> _Worker:
        """A new worker. It is spawned: torch does not survive a fork."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work, args=(theirs, os.getpid(), *self._arguments), daemon=True
        )
        with _threads_of_children(self._threads), _deaf_children():
            process.start()
        theirs.close()  # else its end would not be seen
        return _Worker(process=process, pipe=ours)


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "without a word"
    if code >= 0:
        return f"with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"by {name}" + (", as where memory does not suffice" if code == -signal.SIGKILL else "")


@contextlib.contextmanager
def _threads_of_children(threads: int) -> Iterator[None]:
    """Libraries read how many threads they may have when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Ctrl-C goes to every process of a terminal; what to do about it is the driver's business."""
    resource_tracker.ensure_running()  # its own start would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- In the worker --------------------------------------------------------------------------------


def _work(
    pipe: Connection, driver: int, config: RunConfig, threads: int, how: Train, loading: Load
) -> None:
    """Does jobs until the driver has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(driver)
    with contextlib.suppress(EOFError, OSError):  # the driver has ended
        try:
            data = loading(config)
        except UserError as error:
            pipe.send(_Refused(reason=str(error)))
            return
        use_threads(threads)
        pipe.send(_READY)
        while True:
            job = pipe.recv()
            on_step = NowAndThen(lambda *done: _tell(pipe, done), STEPS_EVERY_S)
            pipe.send(attempt(job, data, on_step, how))


def _tell(pipe: Connection, done: tuple[int, ...]) -> None:
    try:
        pipe.send(done)
    except OSError:
        os._exit(1)  # the driver has ended: this training is nobody's


def _end_with(driver: int) -> None:
    """Asks Linux to kill this process when the driver ends; elsewhere its pipe tells."""
    if sys.platform == "linux":
        libc: Any = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != driver:
            os._exit(1)
