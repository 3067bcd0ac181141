"""Where studies live: storages by their URLs, opened, and what is said where that fails."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from search_space.errors import UserError

JOURNAL = "journal:"
SQLITE_WAITS_S = 60.0
"""For other processes that write; SQLAlchemy's 5 s are few where a disk is slow."""
LONGEST_LINE = 1 << 20
"""Bytes of a journal that are searched for the end of its last whole line."""
TRIES = 5
"""Of several processes that make the tables of a new storage at once, all but one fail."""


STORAGE_ERRORS = (optuna.exceptions.StorageInternalError, SQLAlchemyError, OSError)
"""What a storage raises that cannot be read or written."""


class StorageFailed(UserError):
    """A storage could not be read or written any more."""


def sqlite_url(path: Path) -> str:
    """The storage URL of a SQLite file."""
    return URL.create("sqlite", database=str(path.resolve())).render_as_string()


def absolute_url(storage: str) -> str:
    """A storage URL that means the same from every folder; raises UserError where it is none."""
    if storage.startswith(JOURNAL):
        return f"{JOURNAL}//{_journal_path(storage).resolve()}"
    url = _parse(storage)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return sqlite_url(Path(url.database))
    return storage


def _journal_path(storage: str) -> Path:
    """The file of ``journal:PATH`` or ``journal:///PATH``."""
    path = storage.removeprefix(JOURNAL).removeprefix("//")
    if not path:
        raise _unopenable(repr(storage), "it names no file")
    return Path(path)


def _parse(storage: str) -> URL:
    try:
        return make_url(storage)
    except ArgumentError:
        raise _unopenable(repr(storage), "it is no URL") from None


def _unopenable(shown: str, reason: str) -> UserError:
    return UserError(
        f"the storage {shown} cannot be opened: {reason}; it must be a URL such as"
        " sqlite:///FILE, journal:FILE or postgresql+psycopg://USER@HOST/DATABASE"
    )


def shown_url(storage: str) -> str:
    """A storage URL in quotes, without its password."""
    if storage.startswith(JOURNAL):
        return repr(storage)
    return repr(_parse(storage).render_as_string(hide_password=True))


def quiet_optuna() -> None:
    """Leaves the terminal to the command; failures still raise."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(storage: str) -> BaseStorage:
    """Optuna's storage behind a URL; raises UserError where it cannot be opened."""
    try:
        if storage.startswith(JOURNAL):
            path = str(_journal_path(storage))
            return JournalStorage(JournalFileBackend(path, _MendingLock(path)))
        return _database(storage)
    except UserError:
        raise
    except (SQLAlchemyError, ImportError, OSError, ValueError, KeyError, TypeError) as error:
        # A journal of another kind lacks what every line of ours has: KeyError, TypeError.
        reason = " ".join(str(error).split())[:200]
        raise _unopenable(shown_url(storage), reason) from None


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
    sqlite = _parse(storage).get_backend_name() == "sqlite"
    # A connection that was cut while a network trained is found out before it is used.
    options = {"connect_args": {"timeout": SQLITE_WAITS_S}} if sqlite else {"pool_pre_ping": True}
    backend = _made_once(storage, options)
    if sqlite:
        event.listen(backend.engine, "begin", _begin_exclusively)
    return get_storage(backend)


def _made_once(storage: str, options: dict[str, Any]) -> RDBStorage:
    for left in reversed(range(TRIES)):
        try:
            return RDBStorage(storage, engine_kwargs=options)
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


@contextmanager
def storage_failures(storage: str) -> Iterator[None]:
    """Raises StorageFailed, a sentence, where a storage fails."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        raise _failed(storage, cause) from error
    except OSError as error:
        if not storage.startswith(JOURNAL):
            raise
        raise _failed(storage, error) from error


def _failed(storage: str, cause: BaseException) -> StorageFailed:
    reason = str(getattr(cause, "orig", None) or cause).splitlines()[0][:200]
    return StorageFailed(
        f"the storage {shown_url(storage)} failed: {reason}; what it holds is kept: see to it,"
        " then go on with `search resume`"
    )
