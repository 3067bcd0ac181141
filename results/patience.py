"""What a storage does where it fails: it is waited for, and then said to have failed.

A database that is started anew, or a connection that is cut, is no reason to throw away what hours
of training have shown. So whatever is asked of a database is asked again for a while: to read twice
changes nothing, nor does it to write an attribute or the end of a trial twice. A trial that is
begun twice is found out by whoever begins it (:mod:`search.loop`). Only studies are made once.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError, SQLAlchemyError

from results.urls import shown_url
from search_space.errors import UserError

PATIENCE_S = 40.0
"""Less than the lease of a trial: whoever waits here is not to be taken for dead."""
LONGEST_PAUSE_S = 2.0
T = TypeVar("T")
_ONCE = ("create_new_study", "delete_study")


class StorageFailed(UserError):
    """A storage could not be read or written any more."""


class Patient:
    """Hands every call on to a storage, again while that may help.

    Args:
        storage: The storage.
        url: Where it is, for what is said of it.
        patience_s: How long a call is repeated.
    """

    def __init__(self, storage: BaseStorage, url: str, patience_s: float) -> None:
        self._storage = storage
        self._url = url
        self._patience_s = patience_s
        self._given_up = False
        """Patience has ended, and nothing has been read or written since."""

    @property
    def inner(self) -> BaseStorage:
        """The storage that is waited for."""
        return self._storage

    def persist(self, call: Callable[[], T], *, once: bool = False) -> T:
        """What a call returns, which reads or writes the same however often it is made."""
        deadline = time.monotonic() + (0.0 if once else self._patience_s)
        pause_s = 0.05
        with storage_failures(self._url):
            while True:
                try:
                    found = call()
                except (StorageInternalError, SQLAlchemyError) as error:
                    if self._given_up or time.monotonic() >= deadline or not _may_pass(error):
                        self._given_up = True
                        raise
                else:
                    self._given_up = False
                    return found
                time.sleep(random.uniform(0.5, 1.0) * pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _may_pass(error: Exception) -> bool:
    """Whether an error is one of connections, of a server that is away, or of a deadlock."""
    # Optuna's own failure is caused by that of the database, and that by its driver's.
    cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
    lost = isinstance(cause, DBAPIError) and cause.connection_invalidated
    return lost or isinstance(cause, OperationalError | PendingRollbackError)


def _handed_on(name: str) -> Callable[..., Any]:
    def method(self: Patient, *args: Any, **kwargs: Any) -> Any:
        def call() -> Any:
            return getattr(self.inner, name)(*args, **kwargs)

        return self.persist(call, once=name in _ONCE)

    return method


_METHODS = {
    name: _handed_on(name)
    for name, value in vars(BaseStorage).items()
    if callable(value) and not name.startswith("_")
}
_PatientStorage: Any = type("PatientStorage", (Patient, BaseStorage), _METHODS)


def patient(storage: BaseStorage, url: str, patience_s: float = 0.0) -> BaseStorage:
    """The same storage; what it is asked is repeated for ``patience_s`` seconds where that may
    help, and raises StorageFailed, a sentence, where it does not."""
    made: BaseStorage = _PatientStorage(storage, url, patience_s)
    return made


@contextmanager
def storage_failures(url: str) -> Iterator[None]:
    """Raises StorageFailed, a sentence, where a storage fails or holds what cannot be read."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause).splitlines()[0][:200]
        raise StorageFailed(
            f"the storage {shown_url(url)} failed: {reason}; what it holds is kept: see to it,"
            " then go on with `search resume`"
        ) from error
    except KeyError:
        raise  # what was asked for is not there
    except (json.JSONDecodeError, UnicodeError, LookupError) as error:
        raise damaged(url, " ".join(str(error).split())[:200]) from error


def damaged(url: str, reason: str) -> StorageFailed:
    """What is said of a storage that holds what cannot be understood."""
    return StorageFailed(
        f"the storage {shown_url(url)} is damaged: {reason}; take a copy of it from before, or"
        " begin another study"
    )
