"""A PostgreSQL server of a test's own: made in a temporary folder, and gone with it."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "not/so@secret"
"""What a URL can only hold in an encoded form."""
USER = "search"


class Missing(Exception):
    """Why no server can be started here."""


class Server:
    """A server on a loopback port; each database is new.

    Args:
        folder: Its data, and whose owner it runs as: it refuses to be root's.
    """

    def __init__(self, folder: Path, programs: Path, user: str) -> None:
        self._folder = folder
        self._programs = programs
        self._user = user
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        options = f"--auth=scram-sha-256 --pwfile={secret} --no-sync --locale=C".split()
        self._run("initdb", "-U", USER, "-E", "UTF8", *options)

    def _run(self, program: str, *arguments: str) -> None:
        # The output goes to a file: a server that keeps a pipe open is waited for for ever.
        with (self._folder / "log").open("a") as log:
            subprocess.run(
                [self._programs / program, "-D", self._folder / "data", *arguments],
                check=True,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                user=None if self._user == getpass.getuser() else self._user,
                timeout=120,
            )

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} -c max_connections=200"
        self._run("pg_ctl", "start", "-w", "-o", options)

    def stop(self, how: str = "fast") -> None:
        """``immediate`` is as if it had been killed."""
        self._run("pg_ctl", "stop", "-w", "-m", how)

    def url(self, database: str = "postgres", password: str | None = None) -> str:
        secret = f":{password}" if password else ""
        return f"postgresql+psycopg://{USER}{secret}@127.0.0.1:{self.port}/{database}"

    def ask(self, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """The rows that a statement returns."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            dbname=database,
            password=PASSWORD,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    def new_database(self, name: str) -> str:
        """The URL of an empty database."""
        self.ask(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def cut(self) -> int:
        """Ends all connections; how many there were."""
        others = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return int(str(self.ask(others)[0][0]))


def _programs() -> Path:
    """The folder of initdb and pg_ctl, which Debian keeps out of the path."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    raise Missing("no PostgreSQL server on this machine")


def _user() -> str:
    if os.getuid() != 0:
        return getpass.getuser()
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise Missing("PostgreSQL runs as nobody's root, and there is no user postgres") from None


@contextmanager
def server() -> Iterator[Server]:
    """A server that runs; raises Missing where there can be none."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise Missing("psycopg is not installed") from None
    programs, user = _programs(), _user()
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        shutil.chown(name, user)
        made = Server(Path(name), programs, user)
        made.start()
        try:
            yield made
        finally:
            made.stop("immediate")
