"""What stands in a study that several processes work on, as one of them has read it last.

Here is also what they agree on, which the study alone decides: a number is given once, by the
storage, and of two trials that want the same the lowest stands. A trial whose network, or whose
place among the last ones wanted, has a lower number is superfluous. Lower numbers are written
before higher ones, and no trial that ends well or runs becomes another network, so whoever looks
finds the same, at any time: no network is trained under two numbers, and no more are complete than
were wanted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from results.study import Study
from results.trial import State, Trial


class Board:
    """The trials of a study, counted as they change: nothing here looks through all of them.

    Args:
        study: Where they are written.
        wanted: How many complete ones.
    """

    def __init__(self, study: Study, wanted: int) -> None:
        self.trials: dict[int, Trial] = {}
        self.next_number = 0
        """The number that the next trial to start will have, unless another process is faster."""
        self._study = study
        self._wanted = wanted
        self._running: dict[int, Trial] = {}
        self._counts: Counter[State] = Counter()
        self._numbers: defaultdict[str, list[int]] = defaultdict(list)
        """Of the trials of each network."""

    def read(self) -> list[Trial]:
        """Reads what has changed; returns the trials that have ended since."""
        ended = []
        for trial in self._study.changed():
            before = self.trials.get(trial.number)
            if before is None or before.state == "running":
                self.put(trial)
                if trial.state != "running":
                    ended.append(trial)
        return ended

    def put(self, trial: Trial) -> None:
        """Takes note of a trial as it stands now."""
        before = self.trials.get(trial.number)
        if before is None:
            self._numbers[trial.proposal.spec.id].append(trial.number)
            self.next_number = max(self.next_number, trial.number + 1)
        else:
            self._counts[before.state] -= 1
        self.trials[trial.number] = trial
        self._counts[trial.state] += 1
        if trial.state == "running":
            self._running[trial.number] = trial
        else:
            self._running.pop(trial.number, None)

    @property
    def running(self) -> Sequence[Trial]:
        return list(self._running.values())

    @property
    def complete(self) -> int:
        """How many networks have a score."""
        return self._counts["complete"]

    @property
    def done(self) -> bool:
        """Whether as many networks are complete as are wanted."""
        return self.complete >= self._wanted

    @property
    def has_room(self) -> bool:
        """Whether more networks are wanted than are complete or running."""
        return self.complete + self._counts["running"] < self._wanted

    def superfluous(self, trial: Trial) -> str | None:
        """Why a trial is not to be trained; None where it is."""
        for number in sorted(self._numbers[trial.proposal.spec.id]):
            if number < trial.number and self.trials[number].state != "withdrawn":
                return f"trial {number} is the same network"
        later = (self.trials.get(n) for n in range(trial.number, self.next_number))
        others = self.complete + self._counts["running"]
        others -= sum(t is not None and t.state in ("complete", "running") for t in later)
        return f"{self._wanted} others were begun before" if others >= self._wanted else None
