"""What stands in a study that several processes work on, as one of them has read it last.

Here is also what they agree on, which the study alone decides: a number is given once, by the
storage, and of two trials that want the same the lowest stands. A trial whose network, or whose
place among the last ones wanted, has a lower number is superfluous. Lower numbers are written
before higher ones, and no trial that ends well or runs becomes another network, so whoever looks
finds the same, at any time: no network is trained under two numbers, and no more are complete than
were wanted.
"""

from __future__ import annotations

from collections.abc import Sequence

from results.study import Study
from results.trial import State, Trial


class Board:
    """The trials of a study.

    Args:
        study: Where they are written.
        wanted: How many complete ones.
    """

    def __init__(self, study: Study, wanted: int) -> None:
        self.trials: dict[int, Trial] = {}
        self._study = study
        self._wanted = wanted

    def read(self) -> list[Trial]:
        """Reads the study; returns the trials that have ended since it was read last."""
        ended = []
        for trial in self._study.trials():
            before = self.trials.get(trial.number)
            self.trials[trial.number] = trial
            if trial.state != "running" and (before is None or before.state == "running"):
                ended.append(trial)
        return ended

    @property
    def running(self) -> Sequence[Trial]:
        return [t for t in self.trials.values() if t.state == "running"]

    @property
    def complete(self) -> int:
        """How many networks have a score."""
        return self._count("complete")

    @property
    def done(self) -> bool:
        """Whether as many networks are complete as are wanted."""
        return self.complete >= self._wanted

    @property
    def has_room(self) -> bool:
        """Whether more networks are wanted than are complete or running."""
        return self.complete + self._count("running") < self._wanted

    def superfluous(self, trial: Trial) -> str | None:
        """Why a trial is not to be trained; None where it is."""
        lower = [t for t in self.trials.values() if t.number < trial.number]
        network = trial.proposal.spec.id
        same = [t for t in lower if t.state != "withdrawn" and t.proposal.spec.id == network]
        if same:
            return f"trial {same[0].number} is the same network"
        if sum(t.state in ("complete", "running") for t in lower) >= self._wanted:
            return f"{self._wanted} others were begun before"
        return None

    def _count(self, state: State) -> int:
        return sum(trial.state == state for trial in self.trials.values())
