"""Where studies live: storages by their URLs, opened."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages._rdb import models
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from results.patience import PATIENCE_S, patient
from results.urls import (
    JOURNAL,
    PASSWORD,
    database_url,
    journal_path,
    unopenable,
    with_password,
)
from search_space.errors import UserError

SQLITE_WAITS_S = 60.0
"""For other processes that write; SQLAlchemy's 5 s are few where a disk is slow."""
NETWORK = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
"""PostgreSQL's own; without them a cable that was pulled out is noticed after many minutes."""
LONGEST_LINE = 1 << 20
"""Bytes of a journal that are searched for the end of its last whole line."""
TRIES = 5
"""Of several processes that make the tables of a new storage at once, all but one fail."""


def quiet_optuna() -> None:
    """Leaves the terminal to the command; failures still raise."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_storage(storage: str) -> BaseStorage:
    """Optuna's storage behind a URL, which waits for a database that is away for a moment.

    Raises:
        UserError: it cannot be opened. Whatever is asked of it later raises StorageFailed.
    """
    try:
        if storage.startswith(JOURNAL):
            path = str(journal_path(storage))
            journal = JournalStorage(JournalFileBackend(path, _MendingLock(path)))
            return patient(journal, storage)
        return _database(storage)
    except UserError:
        raise
    except (SQLAlchemyError, ImportError, OSError, ValueError, KeyError, TypeError) as error:
        # A journal of another kind lacks what every line of ours has: KeyError, TypeError.
        reason = " ".join(str(error).split())[:200]
        if "password" in reason:
            reason += f" (a run keeps no password: give it in PGPASSWORD, ~/.pgpass or {PASSWORD})"
        raise unopenable(storage, reason) from None


class _MendingLock(JournalFileSymlinkLock):
    """Whoever may write next removes what a killed process, or a full disk, left of a line: what
    is appended to it could not be read."""

    def acquire(self) -> bool:
        acquired = super().acquire()
        with open(self._lock_target_file, "rb+") as file:
            end = file.seek(0, os.SEEK_END)
            start = max(0, end - LONGEST_LINE)
            file.seek(start)
            whole = start + file.read().rfind(b"\n") + 1
            if start < whole < end or start == 0 < end != whole:
                file.truncate(whole)
        return acquired


def _database(storage: str) -> BaseStorage:
    url = with_password(database_url(storage))
    sqlite = url.get_backend_name() == "sqlite"
    # A connection that was cut while a network trained is found out before it is used.
    options: dict[str, Any] = {"pool_pre_ping": True}
    if sqlite:
        options = {"connect_args": {"timeout": SQLITE_WAITS_S}}
    elif url.get_driver_name() in ("psycopg", "psycopg2"):
        options["connect_args"] = {n: v for n, v in NETWORK.items() if n not in url.query}
    # Optuna fills braces in.
    text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    backend = _made_once(text, options)
    if sqlite:
        event.listen(backend.engine, "connect", _keep_journal)
        event.listen(backend.engine, "begin", _begin_exclusively)
    return patient(get_storage(backend), storage, 0.0 if sqlite else PATIENCE_S)


class _Database(RDBStorage):
    """Optuna reads two rows for each parameter of a new trial: the trial, which has just been made,
    and what an earlier one chose from, which is the one space that the settings of a study tell.
    A driver spent a third of its time on that, the second left out already."""

    def _set_trial_param_without_commit(
        self,
        session: Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        session.add(
            models.TrialParamModel(
                trial_id=trial_id,
                param_name=param_name,
                param_value=param_value_internal,
                distribution_json=distribution_to_json(distribution),
            )
        )


def _keep_journal(connection: sqlite3.Connection, _: object) -> None:
    # A trial takes ten commits, each as durable as before; but to make and remove a file for each
    # of them, as SQLite does unless told, takes ten times as long as to write to one that stays.
    connection.execute("PRAGMA journal_mode = PERSIST").close()


def _made_once(storage: str, options: dict[str, Any]) -> RDBStorage:
    for left in reversed(range(TRIES)):
        try:
            return _Database(storage, engine_kwargs=options)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            made_meanwhile = any(s in str(error) for s in ("already exists", "duplicate key"))
            if not made_meanwhile or not left:
                raise
            time.sleep(random.uniform(0.05, 0.2))
    raise AssertionError("the last try returns or raises")


# --- One reads and writes while nobody else writes ------------------------------------------------


class _Here(threading.local):
    exclusive = False


_here = _Here()


@contextmanager
def exclusively() -> Iterator[None]:
    """Makes each transaction of this thread read and write with nobody writing in between.

    Optuna locks the row that it is about to change (``SELECT ... FOR UPDATE``), which PostgreSQL
    and MySQL know and SQLite does not; there the transaction takes SQLite's only write lock before
    it reads. A journal file needs nothing: its lines have one order, and who reads them applies
    the first end of a trial alone.
    """
    _here.exclusive = True
    try:
        yield
    finally:
        _here.exclusive = False


def _begin_exclusively(connection: Connection) -> None:
    # Python's sqlite3 begins by itself, but only before the first statement that writes.
    if _here.exclusive:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
