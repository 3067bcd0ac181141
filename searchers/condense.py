"""The searcher that uses what is known before a training: costs exactly, accuracy by a model.

Of the two objectives, accuracy and cost, a description of a network tells the second. What is left
is a question in one unknown: which network inside the budget promises to add most to the front?
A Gaussian process (``surrogate``) answers what accuracy to expect, an integral (``improvement``)
what that would add, and both are asked about thousands of networks (``pool``).

Expected hypervolume improvement: Emmerich et al. 2011; with Gaussian processes in batches: Daulton
et al. 2020 (arXiv:2006.05078).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.trial import Proposal, Trial
from search_space.searchable import Searchable
from search_space.space import Choices
from searchers.base import Admission, Searcher
from searchers.dominance import leaders
from searchers.fidelities import Fidelities, Observed
from searchers.improvement import Steps
from searchers.pool import Features, Member, Priced, changed, drawn, relatives
from searchers.telling import MOST, telling

Array = NDArray[np.float64]

START = 8
"""Trainings that spread over the costs before the model is asked; where all cost the same, over
what is known of networks."""
TRIED = 64
"""Networks of like cost among which the start chooses."""
NEAR = 150
"""Relatives of the front, and again of the most promising networks."""
PROMISING = 10
CLOSEST = 3
"""Of these, how many have every network that is one choice away looked at. Among the many that are
near, chance hardly ever meets the one change that matters."""
LEARNT = 8
"""Networks that must have reached a rung before the accuracy after it is what the model predicts.
Of few it would not be known how differently networks gain by the longer training, and all that is
unlike them would seem promising."""
FEW_EACH = 2
"""Networks for each process that may ask at the same moment."""
TYPICAL_LEAST, TYPICAL_MOST = 0.1, 0.99
"""Quantiles, over the pool, of the accuracy and the cost from which hypervolumes are measured."""


@dataclass(frozen=True, kw_only=True)
class _Base:
    """What a search draws from its seed: networks, their features, and those to begin with."""

    priced: Priced
    members: Sequence[Member]
    features: Features
    rows: Array = field(repr=False)
    start: Sequence[Member]


class CondenseSearcher(Searcher):
    """Expected hypervolume improvement over accuracy and known cost."""

    def __init__(self, space: Searchable, admission: Admission, seed: int) -> None:
        super().__init__(space, admission, seed)
        self._complete: dict[int, Trial] = {}
        self._pending: dict[int, Proposal] = {}
        self._known: dict[str, Member] = {}
        self._suggested_for: int | None = None
        self._rivals = 0

    def ask(self, number: int) -> Proposal:
        """As every searcher's; what was asked for and not told counts with what is expected."""
        proposal = super().ask(number)
        self._pending[number] = proposal
        return proposal

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._pending.pop(trial.number, None)
        if trial.score is not None:
            self._complete[trial.number] = trial

    def expect(self, trials: Iterable[Trial], *, rivals: int = 0) -> None:
        running = list(trials)
        super().expect(running, rivals=rivals)
        self._rivals = rivals
        self._pending = {trial.number: trial.proposal for trial in running}

    @cached_property
    def _base(self) -> _Base:
        # Not the randomness of any trial, which is that of (seed, number).
        rng = np.random.default_rng([self.seed, 0, 1])
        priced = Priced(self.space, self.admission)
        members = drawn(priced, rng) or priced.members([self.admission.inside])
        features = Features(self.space, members)
        rows = features(members)
        start = [members[i] for i in _spread(rows, _costs(members), rng)]
        return _Base(priced=priced, members=members, features=features, rows=rows, start=start)

    def suggest(self, number: int, rng: np.random.Generator) -> tuple[Choices, dict[str, Any]]:
        if self._suggested_for == number:
            # The first was turned away: all that is known is used up, chance may find the rest.
            return self.space.sample(rng), {}
        self._suggested_for = number
        new = [m for m in self._base.start if self.admission.is_new(m.spec)]
        if not new and len(self._complete) > 1:
            new = self._most_promising(rng)
        if not new:
            new = [m for m in self._base.members if self.admission.is_new(m.spec)]
            rng.shuffle(new)
        if not new:
            return self.space.sample(rng), {}
        # With rivals any of the first few, or all would be given the very first.
        few = FEW_EACH * (self._rivals + 1) if self._rivals else 1
        return new[int(rng.integers(min(few, len(new))))].choices, {}

    def _member(self, proposal: Proposal) -> Member:
        member = self._known.get(proposal.spec.id)
        if member is None:
            known = self.admission.known(proposal.spec)
            member = Member(spec=proposal.spec, choices=proposal.choices, known=known)
            self._known[proposal.spec.id] = member
        return member

    def _most_promising(self, rng: np.random.Generator) -> list[Member]:
        """The new networks of highest expected improvement, the best first."""
        base = self._base
        judge = self._judge()
        new = np.array([self.admission.is_new(m.spec) for m in base.members])
        members = list(itertools.compress(base.members, new))
        gains = judge.gains(members, judge.typical[0][new], judge.typical[1][new])
        seen = {m.spec.id for m in members}
        parents = judge.front
        for closest in (0, CLOSEST):
            around = [m.choices for m in parents]
            children = relatives(self.space, around, NEAR, rng)
            children += itertools.chain(*(changed(self.space, one) for one in around[:closest]))
            more = [
                m
                for m in base.priced.members(children)
                if m.spec.id not in seen and self.admission.is_new(m.spec)
            ]
            seen |= {m.spec.id for m in more}
            members += more
            if more:
                predicted = judge.model.predict(base.features(more))
                gains = np.concatenate([gains, judge.gains(more, *predicted)])
            parents = [members[i] for i in np.argsort(-gains, kind="stable")[:PROMISING]]
            parents = parents or judge.front
        return parents if members else []

    def _observed(self, trials: Sequence[Trial], rungs: int) -> list[Observed]:
        """What the trainings of the first few rungs showed, the cheapest first."""
        found = []
        for rung in range(rungs):
            of_rung = [trial for trial in trials if len(trial.scores) > rung]
            members = [self._member(trial.proposal) for trial in of_rung]
            scores = np.array([[s.accuracy for s in t.scores[: rung + 1]] for t in of_rung])
            rows = self._base.features(members)
            found.append(Observed(rows=rows, accuracy=scores[:, -1], cheaper=scores[:, -2:-1]))
        return found

    def _judge(self) -> _Judge:
        """What the told trials, and those still pending, say of other networks."""
        base = self._base
        trials = telling([self._complete[number] for number in sorted(self._complete)], MOST)
        rungs = _learnt(trials)
        model = Fidelities(self._observed(trials, rungs), base.features.groups)
        last = [trial for trial in trials if len(trial.scores) >= rungs]
        members = [self._member(trial.proposal) for trial in last]
        accuracy = np.array([trial.scores[rungs - 1].accuracy for trial in last])
        if self._pending:
            pending = [self._member(self._pending[n]) for n in sorted(self._pending)]
            rows = base.features(pending)
            members += pending
            accuracy = np.append(accuracy, model.to_accuracy(model.predict(rows)[0]))
            model = model.believing(rows)
        typical = model.predict(base.rows)
        costs = _costs(members)
        return _Judge(
            model=model,
            typical=typical,
            steps=Steps.of(accuracy, costs, self._reference(model, typical[0])),
            front=[members[i] for i in leaders(accuracy, costs, PROMISING)],
        )

    def _reference(self, model: Fidelities, typical: Array) -> tuple[float, float]:
        """Accuracy and cost from which hypervolumes are measured; where nobody says what is of
        use, those of networks that are nothing special."""
        least, most = self.admission.least_accuracy, self.admission.most_cost
        if least is None:
            least = float(model.to_accuracy(np.quantile(typical, [TYPICAL_LEAST]))[0])
        if most is None:
            most = float(np.quantile(_costs(self._base.members), TYPICAL_MOST))
        return least, most


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """The model of one moment, what it says of the pool, and the front to improve."""

    model: Fidelities
    typical: tuple[Array, Array]
    steps: Steps
    front: list[Member]

    def gains(self, members: Sequence[Member], mean: Array, deviation: Array) -> Array:
        """Expected improvements; ties, as where nothing can be improved, by what is unknown."""
        costs = _costs(members)
        gain = self.steps.expected_improvement(mean, deviation, costs, self.model.to_accuracy)
        return gain + 1e-12 * deviation


def _learnt(trials: Sequence[Trial]) -> int:
    """How many rungs enough networks have reached."""
    reached = sorted((len(trial.scores) for trial in trials), reverse=True)
    return reached[:LEARNT][-1]


def _costs(members: Sequence[Member]) -> Array:
    return np.array([m.known.cost for m in members])


def _spread(rows: Array, costs: Array, rng: np.random.Generator) -> list[int]:
    """Networks from equal parts of the range of costs, each far from those before."""
    edges = np.linspace(costs.min(), np.quantile(costs, TYPICAL_MOST), START + 1)
    chosen: list[int] = []
    for low, high in itertools.pairwise(edges):
        there = np.flatnonzero((costs >= low) & (costs <= high))
        there = np.setdiff1d(there, chosen)
        if not len(there):
            continue
        tried = rng.choice(there, min(len(there), TRIED), replace=False)
        distances = [((rows[tried] - rows[i]) ** 2).sum(1) for i in chosen]
        far = np.min(distances, axis=0).argmax() if distances else 0
        chosen.append(int(tried[far]))
    return chosen
