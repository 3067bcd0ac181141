"""What is asked of a storage again, and what is not."""

from __future__ import annotations

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from sqlalchemy.exc import IntegrityError, OperationalError

from results.patience import Patient, StorageFailed, patient

AWAY = OperationalError("SELECT 1", {}, Exception("server closed the connection"))


@pytest.fixture
def waiting() -> Patient:
    storage = patient(InMemoryStorage(), "sqlite:///s.db", patience_s=60)
    assert isinstance(storage, Patient)
    return storage


def optunas(cause: Exception) -> Exception:
    """As Optuna tells of what its database raised."""
    error = StorageInternalError("see what caused it")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [AWAY, optunas(AWAY)], ids=["database's", "Optuna's"])
def test_a_database_that_is_away_for_a_moment_is_asked_again(
    waiting: Patient, error: Exception
) -> None:
    AWAY.__cause__ = AWAY.orig
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        if len(asked) < 3:
            raise error
        return "there"

    assert waiting.persist(ask) == "there"
    assert len(asked) == 3


@pytest.mark.parametrize("once", [False, True])
def test_what_would_fail_again_or_is_done_once_is_said_at_once(
    waiting: Patient, once: bool
) -> None:
    error = AWAY if once else IntegrityError("INSERT", {}, Exception("is there already"))
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        raise error

    with pytest.raises(StorageFailed, match=r"'sqlite:///s\.db' failed: (server|is there)"):
        waiting.persist(ask, once=once)
    assert len(asked) == 1
