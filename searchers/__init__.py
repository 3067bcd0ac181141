"""What to try next. A new searcher is one class in a file of its own and one line here."""

from __future__ import annotations

from collections.abc import Callable

from search_space.errors import UnknownName
from search_space.searchable import Searchable
from searchers.base import Admission, Known, Searcher, SpaceExhausted

__all__ = ["SEARCHERS", "Admission", "Known", "Searcher", "SpaceExhausted", "make_searcher"]

Factory = Callable[[Searchable, Admission, int], Searcher]


def _condense(space: Searchable, admission: Admission, seed: int) -> Searcher:
    from searchers.condense import CondenseSearcher

    return CondenseSearcher(space, admission, seed)


def _random(space: Searchable, admission: Admission, seed: int) -> Searcher:
    from searchers.random import RandomSearcher

    return RandomSearcher(space, admission, seed)


def _evolution(space: Searchable, admission: Admission, seed: int) -> Searcher:
    from searchers.evolution import EvolutionSearcher

    return EvolutionSearcher(space, admission, seed)


def _nni_evolution(space: Searchable, admission: Admission, seed: int) -> Searcher:
    from searchers.nni import EvolutionSearcher

    return EvolutionSearcher(space, admission, seed)


def _nni_tpe(space: Searchable, admission: Admission, seed: int) -> Searcher:
    from searchers.nni import TpeSearcher

    return TpeSearcher(space, admission, seed)


def _optuna(sampler: str) -> Factory:
    def make(space: Searchable, admission: Admission, seed: int) -> Searcher:
        from searchers.optuna import OptunaSearcher

        return OptunaSearcher(space, admission, seed, sampler=sampler)

    return make


SEARCHERS: dict[str, Factory] = {
    "condense": _condense,
    "random": _random,
    "evolution": _evolution,
    "nni:evolution": _nni_evolution,
    "nni:tpe": _nni_tpe,
    "optuna:tpe": _optuna("tpe"),
    "optuna:nsga2": _optuna("nsga2"),
    "optuna:gp": _optuna("gp"),
}
"""Searchers by name; a library is imported when its searcher is made."""


def make_searcher(name: str, space: Searchable, admission: Admission, seed: int) -> Searcher:
    """A searcher by name; raises UnknownName listing the known ones."""
    if name not in SEARCHERS:
        raise UnknownName("searcher", name, SEARCHERS)
    return SEARCHERS[name](space, admission, seed)
