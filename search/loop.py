"""The study loop: ask, admit, write, hand out, tell, until enough networks are scored.

Nothing is trained here. Executors take jobs and say what has become of them; other processes may
work on the same study, each with a loop of its own, and agree by what stands in it
(:mod:`search.board`). A running trial that its owner has abandoned is taken over under its number,
with its seed; one that is superfluous is withdrawn.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from results.heart import Heart
from results.ownership import Owner, Watch
from results.patience import StorageFailed
from results.study import Study
from results.trial import Score, Trial
from search.board import Board
from search.config import RunConfig
from search.jobs import Ended, Failed, Job, Lost, Scored
from search_space import UserError
from searchers import Searcher, SpaceExhausted
from searchers.aims import told_for
from searchers.rungs import Halving

MOST_FAILURES_IN_A_ROW = 5
MOST_LOSSES = 3
"""After so many processes that a training has cost, the network is taken to be the cause."""
LONGEST_BACK_OFF_S = 0.5


class Loop:
    """The jobs of one process in a study; a context manager, that leaves no trial owned.

    Args:
        config: What determines the search.
        study: Where it is written.
        searcher: What proposes networks; it has been told nothing yet.
        owner: Who runs the trials; this process unless told otherwise.
    """

    def __init__(
        self, config: RunConfig, study: Study, searcher: Searcher, owner: Owner | None = None
    ) -> None:
        self.config = config
        self.study = study
        self.searcher = searcher
        self._board = Board(study, config.trials)
        self.exhausted: str | None = None
        """Why no other network will be proposed; None while there may be some."""
        owner = owner or Owner.here()
        self._owner = str(owner)
        self._apart = int(owner.token, 16)
        """Processes that ask for the same number at the same moment draw other networks."""
        self._watch = Watch(owner)
        self._heart = Heart(study, self._owner)
        self._mine: dict[int, Trial] = {}
        self._waiting: list[Trial] = []
        self._losses: Counter[int] = Counter()
        self._rejected: Counter[str] = Counter()
        self._failures = 0
        self._last_failure = ""
        self._collisions = 0
        self.news: list[Trial] = []
        """Trials that have ended since somebody looked, whoever ended them."""
        self._synchronise()
        self.news.clear()

    def __enter__(self) -> Loop:
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves what was not done to others; a storage that fails now has failed before."""
        self._heart.stop()
        with suppress(StorageFailed):
            for trial in self._mine.values():
                self.study.release(trial)

    # --- For executors --------------------------------------------------------------------------

    @property
    def trials(self) -> Mapping[int, Trial]:
        """All trials by their numbers, as they were read last."""
        return self._board.trials

    @property
    def complete(self) -> int:
        """How many networks have a score."""
        return self._board.complete

    @property
    def running_elsewhere(self) -> int:
        """How many networks other processes train, or have abandoned a moment ago."""
        return len(self._board.running) - len(self._mine)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do, here or elsewhere."""
        return self._board.done or (self.exhausted is not None and not self._mine)

    def take(self) -> Job | None:
        """The next training; None while there is none to do.

        A trial that was lost or goes on to its next rung comes first, then one that was abandoned,
        then a new one.
        """
        while not self.finished:
            trial = self._own() or self._abandoned() or self._start()
            if trial is None:
                return None
            job = self._job(trial)
            if job is not None:
                return job
        return None

    def ended(self, event: Ended) -> None:
        """Writes what has become of a job.

        Raises:
            UserError: too many trainings in a row have failed.
        """
        match event:
            case Scored():
                self._scored(event.job.trial, event.score)
            case Failed():
                self._failed(event.job.trial, event.reason)
            case Lost():
                self._lost(event.job.trial, event.reason)
        self._synchronise()
        if self._failures == MOST_FAILURES_IN_A_ROW:
            raise UserError(
                f"the last {MOST_FAILURES_IN_A_ROW} trainings failed, the last because"
                f" {self._last_failure}; lower --learning-rate or look at the data"
            )

    # --- What becomes of trials -----------------------------------------------------------------

    def _scored(self, trial: Trial, score: Score) -> None:
        halving = self.config.halving
        if halving is not None:
            trial = self.study.record_rung(trial, score)
            if trial.state == "running" and self._goes_on(halving, trial):
                self._hold(trial)
                self._waiting.insert(0, trial)
                return
            score = trial.rungs[-1]
        self._complete(trial, score)

    def _complete(self, trial: Trial, score: Score) -> None:
        self._let_go(self.study.complete(trial, score))
        self._failures = 0

    def _failed(self, trial: Trial, reason: str) -> None:
        self._let_go(self.study.fail(trial, reason))
        self._failures += 1
        self._last_failure = reason

    def _lost(self, trial: Trial, reason: str) -> None:
        if trial.number not in self._mine:
            return  # another process took it for abandoned, and has ended it
        self._losses[trial.number] += 1
        if self._losses[trial.number] < MOST_LOSSES:
            self._waiting.insert(0, trial)
        else:
            self._failed(trial, f"{MOST_LOSSES} processes that trained it ended, the last {reason}")

    def _job(self, trial: Trial) -> Job | None:
        """The training of a trial's next rung; None where there is none, and it is complete.

        A process may have been killed between the score of a rung and what follows from it.
        """
        halving = self.config.halving
        if halving is not None and trial.rungs and not self._goes_on(halving, trial):
            self._complete(trial, trial.rungs[-1])
            self._synchronise()
            return None
        return Job(
            trial=trial,
            rung=self.config.rungs[len(trial.rungs)],
            recipe=self.config.recipe,
            seed=self._seed(trial.number),
        )

    def _goes_on(self, halving: Halving, trial: Trial) -> bool:
        aim = self.config.aim
        return halving.goes_on(
            told_for(aim, trial), [told_for(aim, other) for other in self.trials.values()]
        )

    def _seed(self, number: int) -> int:
        """The seed of a trial's training, from (seed, trial number) alone."""
        return int(np.random.SeedSequence([self.config.seed, number]).generate_state(1)[0])

    # --- Whose trials they are ------------------------------------------------------------------

    def _hold(self, trial: Trial) -> None:
        self._mine[trial.number] = trial
        self._board.put(trial)

    def _let_go(self, trial: Trial) -> None:
        self._mine.pop(trial.number, None)

    def _own(self) -> Trial | None:
        """A trial of ours that nobody trains at the moment."""
        self._waiting = [t for t in self._waiting if t.number in self._mine]
        return self._waiting.pop(0) if self._waiting else None

    def _abandoned(self) -> Trial | None:
        """Takes over the first trial that its owner has abandoned."""
        self._synchronise()
        for trial in self._board.running:
            # What we began and do not know of was written as its connection was cut.
            ours = trial.owner == self._owner
            if trial.number in self._mine or not (ours or self._watch.is_abandoned(trial)):
                continue
            taken = self.study.take_over(trial, self._owner)
            if taken.state == "running" and taken.owner == self._owner:
                self._hold(taken)
                # Its owner may have been killed before it looked.
                if self._keep(taken):
                    return taken
        return None

    def _start(self) -> Trial | None:
        """Writes a new network as running; None where enough are, or there is no other."""
        while self._board.has_room:
            trial = self._proposed()
            if trial is None:
                return None
            self._hold(trial)
            self._synchronise()
            if self._keep(trial):
                self._collisions = 0
                return trial
            # Processes that asked at the same moment are not to do so again.
            self._collisions += 1
            time.sleep(random.uniform(0, min(0.05 * self._collisions, LONGEST_BACK_OFF_S)))
            self._synchronise()
        return None

    def _proposed(self) -> Trial | None:
        running = self._board.running
        rivals = {trial.owner for trial in running} - {self._owner, None}
        self.searcher.expect(running, rivals=max(len(rivals), self._collisions))
        number = self._board.next_number
        if self.running_elsewhere or self._collisions:
            number += self._apart
        try:
            proposal = self.searcher.ask(number)
        except SpaceExhausted as exhausted:
            self.exhausted = str(exhausted)
            return None
        finally:
            self._count_rejected()
        limits = self.config.limits
        estimate = limits.estimate(proposal.spec)
        constraints = limits.constraints(estimate)
        return self.study.start(self.config.space, proposal, estimate, constraints, self._owner)

    def _count_rejected(self) -> None:
        counted = Counter(self.searcher.admission.rejected)
        self.study.count_rejected(counted - self._rejected)
        self._rejected = counted

    def _keep(self, trial: Trial) -> bool:
        """Whether a running trial is to be trained; it is withdrawn where it is superfluous."""
        reason = self._board.superfluous(trial)
        if reason is not None:
            self._let_go(self.study.withdraw(trial, reason))
        return reason is None

    # --- What others do ---------------------------------------------------------------------------

    def _synchronise(self) -> None:
        """Reads the study, and tells the searcher what has ended since."""
        self._read()
        # Whoever wrote a superfluous trial may have been killed before it could withdraw it.
        if self._board.done:
            kept = [self._keep(trial) for trial in self._board.running]
            if not all(kept):
                self._read()

    def _read(self) -> None:
        for trial in self._board.read():
            if trial.state in ("complete", "failed"):
                self.searcher.tell(told_for(self.config.aim, trial))
            self._mine.pop(trial.number, None)
            self.news.append(trial)
