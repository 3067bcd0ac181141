"""The URLs of storages: what they may be, and how they are written down and shown."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from search_space.errors import UserError

JOURNAL = "journal:"
PASSWORD = "SEARCH_STORAGE_PASSWORD"
"""The environment variable that holds the password of a URL that has none."""
_SECRET = ("password", "passwd", "sslpassword")
"""Parameters behind the question mark of a URL that are passwords, too."""


def sqlite_url(path: Path) -> str:
    """The storage URL of a SQLite file."""
    return URL.create("sqlite", database=str(path.resolve())).render_as_string()


def absolute_url(storage: str) -> str:
    """A storage URL that means the same from every folder; raises UserError where it is none."""
    if storage.startswith(JOURNAL):
        return f"{JOURNAL}//{journal_path(storage).resolve()}"
    url = database_url(storage)
    if url.get_backend_name() == "sqlite":
        url = url.set(database=str(Path(str(url.database)).resolve()))
    return url.render_as_string(hide_password=False)


def journal_path(storage: str) -> Path:
    """The file of ``journal:PATH`` or ``journal:///PATH``."""
    path = storage.removeprefix(JOURNAL).removeprefix("//")
    if not path:
        raise unopenable(storage, "it names no file")
    return Path(path)


def database_url(storage: str) -> URL:
    """The URL of a database that outlives this process; raises UserError where it is none."""
    url = _parsed(storage)
    if url is None:
        raise unopenable(storage, "it is no URL")
    if url.get_backend_name() == "sqlite":
        name = url.database or ""
        if name in ("", ":memory:"):
            raise unopenable(storage, "it names no file")
        if name.startswith("file:"):
            raise unopenable(storage, "SQLite's file: names are not read here")
    return url


def with_password(url: URL) -> URL:
    """A URL with the password of the environment, where it has none of its own."""
    password = os.environ.get(PASSWORD)
    return url.set(password=password) if password and url.username and not url.password else url


def without_password(storage: str) -> str:
    """A storage URL that may be written down."""
    url = None if storage.startswith(JOURNAL) else _parsed(storage)
    if url is None:
        return storage
    public = URL.create(
        url.drivername, url.username, None, url.host, url.port, url.database, url.query
    )
    return public.difference_update_query(_SECRET).render_as_string()


def shown_url(storage: str) -> str:
    """A storage URL in quotes, without its password."""
    return repr(without_password(storage))


def _parsed(storage: str) -> URL | None:
    try:
        return make_url(storage)
    except (ArgumentError, ValueError):  # of a port that is no number
        return None


def unopenable(storage: str, reason: str) -> UserError:
    """What is said of a storage that cannot be opened."""
    return UserError(
        f"the storage {shown_url(storage)} cannot be opened: {reason}; it must be a URL such as"
        " sqlite:///FILE, journal:FILE or postgresql+psycopg://USER@HOST/DATABASE"
    )
