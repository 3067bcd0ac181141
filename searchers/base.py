"""What every searcher is: ``ask`` for a network inside the budget, ``tell`` what became of it.

A searcher's whole state is its seed and the trials it was told, and the randomness of a proposal
comes from (seed, trial number) alone. So a study that is resumed goes on as it would have.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from results.trial import Proposal, Trial
from search_space.admission import pull_inside, walk
from search_space.cost import cost
from search_space.errors import SpecError
from search_space.searchable import Searchable
from search_space.space import Choices
from search_space.spec import NetworkSpec

WALKS = 50
"""Random walks from there after which the space counts as exhausted."""

Ratios = Callable[[NetworkSpec], Mapping[str, float]]
"""For each limit of the budget by name, the network's cost over the limit."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a network before it is trained.

    Args:
        cost: The objective that is minimised, predicted milliseconds as a rule.
        inputs: Whatever may tell something of the accuracy, by name: costs, or scores at
            initialisation. Their unit does not matter; they may be infinite.
    """

    cost: float
    inputs: Mapping[str, float]


Knowledge = Callable[[NetworkSpec], Known]


def counts(spec: NetworkSpec) -> Known:
    """What a network's description tells: multiply-adds, which are the cost, and parameters."""
    priced = cost(spec)
    return Known(cost=priced.macs, inputs={"macs": priced.macs, "params": priced.params})


class SpaceExhausted(Exception):
    """No network inside the budget was found that has not been trained yet."""


class Admission:
    """The gate before training: inside every limit, and not trained before.

    It is also where searchers learn what a network costs, which needs no training.

    Args:
        ratios: Cost over limit for each limit; a network is inside where all are at most 1.
        inside: Choices of a network that is (the cheapest one, say).
        known: What is known of a network before it is trained.
        least_accuracy: The fraction from which on an accuracy is of use; None where nobody says.
        most_cost: The cost up to which a network is of use, likewise.

    ``rejected`` counts by reason what was turned away: a limit's name, ``duplicate``, or
    ``not a network``.
    """

    def __init__(
        self,
        ratios: Ratios,
        inside: Choices,
        known: Knowledge = counts,
        *,
        least_accuracy: float | None = None,
        most_cost: float | None = None,
    ) -> None:
        self.ratios = ratios
        self.inside = inside
        self.known = known
        self.least_accuracy = least_accuracy
        self.most_cost = most_cost
        self.rejected: Counter[str] = Counter()
        self._trained: set[str] = set()

    def price(self, spec: NetworkSpec) -> float:
        """The largest ratio; at most 1 inside the budget."""
        return max(self.ratios(spec).values(), default=0.0)

    def remember(self, spec: NetworkSpec) -> None:
        """Never admits this network again."""
        self._trained.add(spec.id)

    def is_new(self, spec: NetworkSpec) -> bool:
        """Whether this network is not remembered."""
        return spec.id not in self._trained

    def admits(self, space: Searchable, choices: Choices) -> NetworkSpec | None:
        """The network if it may be trained; else counts the reason."""
        try:
            spec = space.decode(choices)
        except SpecError:
            self.rejected["not a network"] += 1
            return None
        over = [name for name, ratio in self.ratios(spec).items() if ratio > 1]
        self.rejected.update(over)
        if not over and not self.is_new(spec):
            self.rejected["duplicate"] += 1
            return None
        return None if over else spec


class Searcher(ABC):
    """Proposes networks of a space.

    Life cycle: ``tell`` every trial that is known already, in the order of their numbers; then
    ``ask`` for the next number and ``tell`` the trial when it has ended, again and again.
    Several networks may be asked for before the first is told, and others may be trained by other
    processes: ``expect`` tells which.

    Members implement :meth:`suggest` and, if they learn, :meth:`tell`. ``tries`` is the number of
    suggestions outside the budget after which the last one is moved inside. Networks to
    ``begin_with``, inside the budget, are asked for before any that is suggested.
    """

    tries = 100
    begin_with: Sequence[Choices] = ()

    def __init__(self, space: Searchable, admission: Admission, seed: int) -> None:
        self.space = space
        self.admission = admission
        self.seed = seed

    @abstractmethod
    def suggest(self, number: int, rng: np.random.Generator) -> tuple[Choices, dict[str, Any]]:
        """Any combination of choices, and notes to find again in the trial when it is told."""

    def ask(self, number: int) -> Proposal:
        """A network for trial ``number``, inside the budget and never proposed before.

        After ``tries`` suggestions that were turned away, the last one is moved inside the budget,
        keeping what it can, and on from there to a new network; its notes say so
        (``moved_inside``).

        Raises:
            SpaceExhausted: every network inside that was found has been trained.
        """
        for choices in self.begin_with:
            if self.admission.is_new(spec := self.space.decode(choices)):
                return self._proposal(dict(choices), spec, {})
        rng = np.random.default_rng([self.seed, number])
        for _ in range(self.tries):
            choices, notes = self.suggest(number, rng)
            spec = self.admission.admits(self.space, choices)
            if spec is not None:
                return self._proposal(choices, spec, notes)
        price = self.admission.price
        choices = pull_inside(self.space, choices, self.admission.inside, price, rng)
        for _ in range(WALKS):
            spec = self.admission.admits(self.space, choices)
            if spec is not None:
                return self._proposal(choices, spec, notes | {"moved_inside": True})
            choices = walk(self.space, choices, price, rng)
        raise SpaceExhausted(
            f"after {self.tries} suggestions and {WALKS} walks no network inside the budget is left"
            " that has not been trained"
        )

    def _proposal(self, choices: Choices, spec: NetworkSpec, notes: dict[str, Any]) -> Proposal:
        self.admission.remember(spec)
        # Encoding again writes choices without effect in the one way that all trials share; a
        # space of one's own may lack that way, then they stay as they were made.
        with contextlib.suppress(SpecError):
            choices = self.space.encode(spec)
        return Proposal(choices=choices, spec=spec, notes=notes)

    def expect(self, trials: Iterable[Trial], *, rivals: int = 0) -> None:
        """Learns which trials are running, here or elsewhere, and so will be told. Of what was
        asked for before and is neither among them nor told nothing will come.

        ``rivals`` other processes know the same, and may ask at this moment: they are not all to
        be given the same network.
        """
        for trial in trials:
            self.admission.remember(trial.proposal.spec)

    def tell(self, trial: Trial) -> None:
        """Learns what became of a trial, complete or failed, asked for here or elsewhere."""
        self.admission.remember(trial.proposal.spec)
