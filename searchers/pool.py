"""Networks to choose among: inside the budget, with their costs known, and as numbers."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_space.errors import SpecError
from search_space.searchable import Searchable
from search_space.space import Choice, Choices
from searchers.base import Admission, Known

Array = NDArray[np.float64]

SIZE = 2048
WHOLE = 16384
"""Combinations of a space that is taken whole."""
DRAWS_EACH = 2
"""Combinations that are drawn at most for each member, where most are outside the budget."""
MOST_WALKS, STEPS = 1024, 12
"""Walks where the budget is tight, and their steps."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A network inside the budget."""

    spec: Any
    choices: Choices
    known: Known


class Priced:
    """Networks by their choices, each decoded and priced once."""

    def __init__(self, space: Searchable, admission: Admission) -> None:
        self.space = space
        self.admission = admission
        self._members: dict[tuple[Choice, ...], Member | None] = {}

    def member(self, choices: Choices) -> Member | None:
        """The network of a combination; None where there is none, or it is outside."""
        key = tuple(choices[d.name] for d in self.space.dimensions)
        if key not in self._members:
            self._members[key] = self._made(choices)
        return self._members[key]

    def _made(self, choices: Choices) -> Member | None:
        try:
            spec = self.space.decode(choices)
        except SpecError:
            return None
        if self.admission.price(spec) > 1:
            return None
        # Choices without effect, written as in the trials that are told.
        with contextlib.suppress(SpecError):
            choices = self.space.encode(spec)
        return Member(spec=spec, choices=choices, known=self.admission.known(spec))

    def members(self, combinations: Iterable[Choices]) -> list[Member]:
        """Those inside, each network once."""
        found = {m.spec.id: m for c in combinations if (m := self.member(c)) is not None}
        return list(found.values())


def drawn(priced: Priced, rng: np.random.Generator, size: int = SIZE) -> list[Member]:
    """Different networks inside the budget, from all over the range of costs.

    All of them where the space is small. Else every other combination is uniform; the rest have a
    random share of their choices from a network that is inside for certain, the cheapest as a rule,
    so that low costs are met too. Where the budget is so tight that not half of ``size`` are found,
    most of them are little more than the cheapest network: then walks that never leave the budget
    begin at the uniform ones, and end at networks that are as good as uniform.
    """
    space, inside = priced.space, priced.admission.inside
    if math.prod(len(d.choices) for d in space.dimensions) <= WHOLE:
        names = [d.name for d in space.dimensions]
        rows = itertools.product(*(d.choices for d in space.dimensions))
        return priced.members(dict(zip(names, row, strict=True)) for row in rows)
    found: dict[str, Member] = {}
    uniform: list[Member] = []
    for draw in range(DRAWS_EACH * size):
        choices = space.sample(rng)
        if draw % 2:
            share = rng.random()
            choices = {k: inside[k] if rng.random() < share else v for k, v in choices.items()}
        member = priced.member(choices)
        if member is not None:
            found.setdefault(member.spec.id, member)
            uniform += [] if draw % 2 else [member]
        if len(found) == size:
            break
    if uniform and len(found) < size / 2:
        for number in range(min(MOST_WALKS, size - len(found))):
            place = number % len(uniform)
            uniform[place] = _walked(priced, uniform[place], rng)
            found.setdefault(uniform[place].spec.id, uniform[place])
    return list(found.values())


def _walked(priced: Priced, member: Member, rng: np.random.Generator) -> Member:
    """Where some steps lead, each of which gives one dimension a random choice and is taken back
    where it leaves the budget: from a uniform network to a uniform one (Metropolis)."""
    dimensions = priced.space.dimensions
    for i in rng.integers(len(dimensions), size=STEPS):
        choice = dimensions[i].choices[rng.integers(len(dimensions[i].choices))]
        changed = priced.member(member.choices | {dimensions[i].name: choice})
        member = changed or member
    return member


class Features:
    """Networks as rows of numbers, by what is typical of a space.

    Unordered choices are one feature per choice, ordered ones their position. Known inputs are
    two: their quantile among the typical networks, which no outlier disturbs, and their value
    within those networks' range, which tells the few at either end apart, of costs as a logarithm.
    Features of one choice or input form a group, within which two typical networks differ by 1 in
    the root mean square; what never differs is left at 0.
    """

    def __init__(self, space: Searchable, typical: Sequence[Member]) -> None:
        self._dimensions = space.dimensions
        self._inputs = {
            name: np.sort([m.known.inputs[name] for m in typical])
            for name in typical[0].known.inputs
        }
        widths = [1 if d.ordered else len(d.choices) for d in space.dimensions]
        widths += [2] * len(self._inputs)
        self.groups = np.repeat(np.arange(len(widths)), widths)
        variance = np.bincount(self.groups, self._raw(typical).var(0))[self.groups]
        self._scale = np.divide(
            1.0, np.sqrt(2 * variance), out=np.zeros(len(variance)), where=variance > 0
        )

    def __call__(self, members: Sequence[Member]) -> Array:
        """``(members, features)``."""
        return self._raw(members) * self._scale

    def _raw(self, members: Sequence[Member]) -> Array:
        columns: list[Array] = []
        for d in self._dimensions:
            position = {choice: i for i, choice in enumerate(d.choices)}
            at = np.array([position[m.choices[d.name]] for m in members])
            columns.append(at[:, None].astype(float) if d.ordered else np.eye(len(position))[at])
        for name, typical in self._inputs.items():
            values = np.array([m.known.inputs[name] for m in members])
            columns += [_quantiles(values, typical), _within(values, typical)]
        return np.hstack(columns)


def _quantiles(values: Array, typical: Array) -> Array:
    """Of values ``(m,)`` among sorted typical ones; ``(m, 1)``."""
    below = np.searchsorted(typical, values, "left")
    up_to = np.searchsorted(typical, values, "right")
    quantiles: Array = (below + up_to) / (2 * len(typical))
    return quantiles[:, None]


def _within(values: Array, typical: Array) -> Array:
    """Values ``(m,)`` within the finite typical ones; varies as the quantiles do; ``(m, 1)``."""
    finite = typical[np.isfinite(typical)]
    if not len(finite):
        return np.zeros((len(values), 1))
    values = np.clip(values, finite[0], finite[-1])
    if finite[0] > 0:
        values, finite = np.log(values), np.log(finite)
    deviation = float(finite.std()) or 1.0
    within: Array = (values - finite.mean()) / (np.sqrt(12) * deviation)
    return within[:, None]


def changed(space: Searchable, choices: Choices) -> Iterator[Choices]:
    """All combinations that differ in one choice."""
    for d in space.dimensions:
        for choice in d.choices:
            if choice != choices[d.name]:
                yield choices | {d.name: choice}


def relatives(
    space: Searchable, parents: Sequence[Choices], count: int, rng: np.random.Generator
) -> list[Choices]:
    """Combinations near some parents: two of them mixed, or one with one or two new choices."""
    found = []
    for _ in range(count):
        first, second = (parents[int(i)] for i in rng.integers(len(parents), size=2))
        if rng.random() < 0.3:
            found.append({k: v if rng.random() < 0.5 else second[k] for k, v in first.items()})
            continue
        child = dict(first)
        for _ in range(rng.integers(1, 3)):
            d = space.dimensions[rng.integers(len(space.dimensions))]
            child[d.name] = d.choices[rng.integers(len(d.choices))]
        found.append(child)
    return found
