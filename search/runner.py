"""A search from its beginning to its end: what it needs, and who does its jobs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from results.folder import RunFolder
from results.patience import StorageFailed
from results.study import Study
from results.trial import Trial
from search.cards import search_card
from search.config import RunConfig
from search.executors import Executor, Here, OnProgress, load
from search.loop import Loop
from search.workers import Workers
from search_space import SpecError, UserError
from search_space.space import Choices
from searchers import Admission, make_searcher
from searchers.aims import known_for, most_cost

if TYPE_CHECKING:
    from trainers.data import DataSplits

POLL_S = 1.0
"""How often a process with nothing to do looks what others have done."""
WRITE_EVERY_S = 5.0
"""How often the files of a run are written anew."""
MOST_WRITING = 0.05
"""The share of the time that may go into that; it takes longer the more trials there are."""


class Display(Protocol):
    """Who watches a run; every method may do nothing."""

    def started(self, config: RunConfig, data: DataSplits, trials: Sequence[Trial]) -> None:
        """The run begins, with these trials written already."""

    def training_begun(self, trial: Trial) -> None:
        """It is trained, in the rung after those that it has been scored in."""

    def trial_step(self, trial: Trial, step: int, steps: int) -> None:
        """Iterations of that training are done."""

    def training_stopped(self, trial: Trial) -> None:
        """It is not trained any more, or not in this rung."""

    def trial_ended(self, trial: Trial) -> None:
        """It is complete, failed or withdrawn, here or elsewhere."""

    def waiting(self, trials: int) -> None:
        """There is nothing to do before other processes end so many trials."""

    def warn(self, text: str) -> None:
        """Something is wrong that does not end the run."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All trials of a study, and what ended the run early, None if nothing did."""

    trials: tuple[Trial, ...]
    stopped: str | None


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a run needs before anything is written: a network inside the limits, and the data at
    each resolution that is trained at."""

    inside: Choices
    data: Mapping[int, DataSplits]


def prepare(config: RunConfig, *, download: bool = False) -> Ready:
    """Finds the cheapest network and loads the data.

    Raises:
        InfeasibleBudget: no network of the space keeps the limits.
        UserError: data or candidates cannot be used as configured.
    """
    from trainers.augment import check_augmentation
    from trainers.training import training_spec

    check_augmentation(config.recipe.augment)
    inside = config.limits.feasible(config.space)
    data = load(config, download=download)
    for resolution, splits in data.items():
        try:
            training_spec(config.space.decode(inside), splits.classes, resolution)
        except SpecError as error:
            raise UserError(
                f"`resolution` (={resolution}) is too small to train this space at: {error}"
            ) from None
    return Ready(inside=inside, data=data)


MakeExecutor = Callable[[OnProgress], AbstractContextManager[Executor]]


def executor(
    config: RunConfig,
    ready: Ready,
    workers: int | None,
    threads: int,
    *,
    ray: bool = False,
    address: str | None = None,
) -> MakeExecutor:
    """What does the jobs: so many processes of so many threads each, or this one for None; with
    ``ray`` those of the cluster at ``address``, as many as there is room for.

    Raises:
        UserError: Ray is not installed.
    """
    if ray:
        from search.ray import Ray

        return lambda on_progress: Ray(
            config, on_progress, address=address, workers=workers, threads=threads
        )
    if workers is None:
        return lambda on_progress: nullcontext(Here(ready.data, on_progress))
    return lambda on_progress: Workers(workers, config, on_progress, threads=threads)


def run(
    config: RunConfig,
    ready: Ready,
    folder: RunFolder,
    study: Study,
    display: Display,
    *,
    timeout_s: float | None = None,
    make_executor: MakeExecutor | None = None,
) -> Outcome:
    """Runs a study until ``config.trials`` are complete; goes on where one was left.

    No new training begins after ``timeout_s`` seconds; a network that was to go on to another rung
    then waits for the run to be resumed.

    Raises:
        UserError: too many trainings in a row have failed, or what is found out cannot be written.
    """
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    admission = Admission(
        config.limits.ratios,
        ready.inside,
        lambda spec: known_for(config.aim, config.limits.known(spec)),
        least_accuracy=config.least_accuracy,
        most_cost=most_cost(config.aim),
    )
    searcher = make_searcher(config.searcher, config.space, admission, config.seed)
    searcher.begin_with = config.begin_with
    with ExitStack() as stack:
        loop = stack.enter_context(Loop(config, study, searcher))
        files = stack.enter_context(_Files(folder, config, loop, display))
        data = ready.data[config.rungs[-1].resolution]
        display.started(config, data, list(loop.trials.values()))
        make = make_executor or executor(config, ready, None, 1)
        stopped = None
        if not loop.finished:
            doing = make(lambda job, *steps: display.trial_step(job.trial, *steps))
            in_time = _drive(loop, stack.enter_context(doing), display, files, deadline)
            stopped = loop.exhausted if in_time else f"the time limit of {timeout_s:g} s is over"
    if loop.complete >= config.trials:
        stopped = None
    return Outcome(trials=tuple(loop.trials.values()), stopped=stopped)


def _drive(loop: Loop, doing: Executor, display: Display, files: _Files, deadline: float) -> bool:
    """Gives jobs to whoever is free until nothing is left to do; False where the time was over
    before."""
    while True:
        over = time.monotonic() >= deadline
        while doing.free and not over and (job := loop.take()) is not None:
            display.training_begun(job.trial)
            doing.give(job)
            over = time.monotonic() >= deadline
        _show(loop, display)
        if not doing.busy and (loop.finished or over):
            return loop.finished
        looks = doing.free and not over
        if looks and not doing.busy:
            display.waiting(loop.running_elsewhere)
        for event in doing.wait(POLL_S if looks else None):
            display.training_stopped(event.job.trial)
            loop.ended(event)
            _show(loop, display)
            files.write()


def _show(loop: Loop, display: Display) -> None:
    for trial in loop.news:
        display.trial_ended(trial)
    loop.news.clear()


class _Files:
    """The files of a run, written anew now and then and in the end; a context manager. The search
    card is written in the beginning and in the end.

    Where that fails the search goes on, as its study knows everything; it says so at once, and
    raises UserError in the end.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, loop: Loop, display: Display) -> None:
        self._folder = folder
        self._config = config
        self._loop = loop
        self._display = display
        self._next = -math.inf
        self._failure: UserError | None = None

    def __enter__(self) -> _Files:
        # A process may have been killed between the end of a trial and the writing of its files.
        self.write(card=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._next = -math.inf
        # A storage that has failed would be waited for once more.
        self.write(card=kind is None or not issubclass(kind, StorageFailed))
        if self._failure is not None and kind is None:
            raise self._failure

    def write(self, *, card: bool = False) -> None:
        """Writes the files unless they were a moment ago; with ``card`` the search card, too."""
        begun = time.monotonic()
        if begun < self._next:
            return
        before, self._failure = self._failure, None
        try:
            trials = list(self._loop.trials.values())
            self._folder.write_results(trials)
            if card:
                self._write_card(trials)
        except OSError as error:
            self._failure = UserError(
                f"the results in {self._folder.path} cannot be written: {error}; the study has"
                f" them: once there is room, search resume {self._folder.path} writes them"
            )
            if before is None:
                self._display.warn(str(self._failure))
        now = time.monotonic()
        self._next = now + max(WRITE_EVERY_S, (now - begun) / MOST_WRITING)

    def _write_card(self, trials: Sequence[Trial]) -> None:
        try:
            card = search_card(self._config, self._loop.study, trials)
        except UserError as error:
            self._display.warn(f"there is no search card: {error}")
            return
        self._folder.write_card(card)
