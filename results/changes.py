"""Which trials of a study have changed since somebody looked, without reading the others.

Optuna reads every running trial anew, with all of its parameters and attributes, whenever trials
are asked for: with a thousand of them that is seconds. A database is asked here for what may change
of a trial (its state, its owner, its rungs) alone, and only those where it has are read.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sql
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState

from results.patience import Patient
from results.records import OWNER, RUNGS

MOST_SINGLY = 100
"""Trials that are read one by one; more are read faster with all others."""

_trials = sql.table("trials", *map(sql.column, ("trial_id", "number", "study_id", "state")))
_attributes = sql.table(
    "trial_user_attributes", *map(sql.column, ("trial_id", "key", "value_json"))
)


class Changes:
    """What has changed in a study since the last :meth:`read`; everything, at the first."""

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage = storage
        self._study_id = study_id
        self._seen: dict[int, Hashable] = {}
        """By what it is told that a trial has changed; by number, or for a database by its id."""
        self._running: set[int] = set()
        self._last = -1

    def read(self) -> list[FrozenTrial]:
        """Trials that have begun, changed hands, moved on or ended, by their numbers."""
        storage = self._storage
        if isinstance(storage, Patient) and isinstance(storage.inner, _CachedStorage):
            database = storage.inner._backend
            return self._of_database(storage.persist(lambda: self._marks(database)))
        # Others keep all trials in memory, and put another in the place of one that changes.
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        known = self._seen
        changed = [t for t in trials if known.get(t.number) is not t]
        known.update((t.number, t) for t in changed)
        return changed

    def _of_database(self, marks: Iterable[Any]) -> list[FrozenTrial]:
        ids = {}
        for trial_id, number, state, owner, rungs in marks:
            self._last = max(self._last, trial_id)
            mark = state, owner, rungs
            if self._seen.get(trial_id) == mark:
                continue
            ids[number] = trial_id
            if state == TrialState.RUNNING.name:
                self._running.add(trial_id)
                self._seen[trial_id] = mark
            else:
                self._running.discard(trial_id)
                self._seen.pop(trial_id, None)
        if len(ids) > MOST_SINGLY:
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
            return [trial for trial in trials if trial.number in ids]
        return [self._storage.get_trial(ids[number]) for number in sorted(ids)]

    def _marks(self, database: RDBStorage) -> list[Any]:
        """Of each trial that is new or was running: id, number, state, owner and rungs."""
        owner, rungs = _attributes.alias("owner"), _attributes.alias("rungs")
        query = (
            sql.select(
                _trials.c.trial_id,
                _trials.c.number,
                sql.cast(_trials.c.state, sql.String),
                owner.c.value_json,
                rungs.c.value_json,
            )
            .select_from(_trials)
            .outerjoin(
                owner, sql.and_(owner.c.trial_id == _trials.c.trial_id, owner.c.key == OWNER)
            )
            .outerjoin(
                rungs, sql.and_(rungs.c.trial_id == _trials.c.trial_id, rungs.c.key == RUNGS)
            )
            .where(_trials.c.study_id == self._study_id)
        )
        found: list[Any] = []
        with database.engine.connect() as connection:
            found += connection.execute(query.where(_trials.c.trial_id > self._last)).all()
            for some in _parts(self._running):
                found += connection.execute(query.where(_trials.c.trial_id.in_(some))).all()
        return found


def _parts(ids: set[int], size: int = 500) -> Iterator[list[int]]:
    """Databases limit how many values a statement may hold."""
    left = iter(sorted(ids))
    while part := list(islice(left, size)):
        yield part
