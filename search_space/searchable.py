"""What may be searched: the least that a search asks of a space and of what is in it.

A :class:`~search_space.space.SearchSpace` of networks is one such space; a table that lists the
accuracy of every network of a benchmark is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from search_space.space import Choice, Choices, Dimension


class Candidate(Protocol):
    """Something that can be trained."""

    @property
    def id(self) -> str:
        """The same for candidates that are one network, however their choices are written."""


class Searchable(Protocol):
    """Named dimensions, each with its choices, and the candidates that combinations of them make.

    Candidates are typed as ``Any``: the proposals and trials of a search name its networks, and
    searchers read nothing of them but :class:`Candidate`.
    """

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Everything that has at least two choices."""

    def sample(self, rng: np.random.Generator) -> Choices:
        """A random combination."""

    def decode(self, choices: Mapping[str, Choice]) -> Any:
        """The :class:`Candidate` of a combination; raises SpecError where there is none."""

    def encode(self, spec: Any) -> Choices:
        """The one combination that stands for all that make this candidate; raises SpecError
        where the space lacks it."""
