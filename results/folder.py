"""The folder of a run: where its study is, and the files that people take away.

::

    run.yaml                  storage URL and name of the study, which is the only record; a
                              password in the URL is not written down
    study.db                  the study, unless it lives in another storage
    trials.csv, pareto.csv    all trials; the Pareto front
    best/architecture.yaml    the most accurate network inside the budget
    card.json, card.md        the search card: what running the search again takes
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from results.study import Study
from results.tables import most_accurate, pareto_front, trials_frame
from results.trial import Trial
from results.urls import sqlite_url, without_password
from search_space.errors import UserError
from search_space.reading import read_yaml

if TYPE_CHECKING:
    from results.search_card import SearchCard

POINTER = "run.yaml"
BEST = Path("best") / "architecture.yaml"


class Busy(UserError):
    """Another process is working on a run."""


class RunFolder:
    """One run's folder. Make one with :meth:`create` or :meth:`open`.

    ``storage`` is None where the study is the folder's own SQLite file; then it moves with it.
    """

    def __init__(self, path: Path, *, study_name: str, storage: str | None) -> None:
        self.path = path
        self.study_name = study_name
        self._elsewhere = storage

    @staticmethod
    def must_be_new(path: Path) -> None:
        """Raises UserError where a folder holds a run already."""
        if (path / POINTER).exists():
            raise UserError(
                f"{path} holds a run already; continue it with `search resume {path}`,"
                " or choose another --out"
            )

    @classmethod
    def create(
        cls,
        path: Path,
        storage: str | None,
        settings: Mapping[str, Any],
        shared: str | None = None,
    ) -> RunFolder:
        """A new run with its study, named after the folder, or the ``shared`` one of this name,
        which other runs may be working on.

        ``run.yaml`` is written last: a folder without it holds no run, and what a killed process
        left there of a study of its own is made anew.

        Raises:
            UserError: the folder holds a run already, cannot be written or is another process's,
                or the storage cannot be opened, holds a study of this name, or a shared one made
                with other settings.
        """
        folder = cls(path, study_name=shared or path.resolve().name, storage=storage)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the output folder {path} cannot be written: {error}") from None
        with folder.locked():
            cls.must_be_new(path)
            folder._make_study(settings, shared)
        return folder

    def _make_study(self, settings: Mapping[str, Any], shared: str | None) -> None:
        try:
            if shared is not None:
                Study.join(self.storage, shared, settings)
            else:
                if self._elsewhere is None:
                    for left in self.path.glob(f"{self._own_study.name}*"):
                        left.unlink()  # SQLite's journal belongs to the file beside it
                Study.create(self.storage, self.study_name, settings)
            where = None if self._elsewhere is None else without_password(self._elsewhere)
            pointer = {"study": self.study_name, "storage": where}
            write_atomically(self.path / POINTER, yaml.safe_dump(pointer, sort_keys=False))
        except OSError as error:
            raise UserError(f"the output folder {self.path} cannot be written: {error}") from None

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that exists; raises UserError where the folder holds none."""
        pointer = path / POINTER
        if not pointer.is_file():
            raise UserError(
                f"{path} holds no run: {pointer} was looked for; name a folder that"
                " `search run` wrote"
            )
        data = read_yaml(pointer)
        if not isinstance(data, dict) or not isinstance(data.get("study"), str):
            raise UserError(f"{pointer}: must name the `study` (and its `storage`)")
        return cls(path, study_name=data["study"], storage=data.get("storage"))

    @property
    def _own_study(self) -> Path:
        return self.path / "study.db"

    @property
    def storage(self) -> str:
        """The storage URL; a folder that was moved takes its own study along."""
        return self._elsewhere or sqlite_url(self._own_study)

    def study(self) -> Study:
        """The run's study; raises UserError where it cannot be opened."""
        # Optuna would make an empty database where there is none.
        if self._elsewhere is None and not self._own_study.is_file():
            raise UserError(
                f"{self._own_study} was looked for and does not exist: the run has no study"
            )
        return Study.load(self.storage, self.study_name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second process out.

        Raises:
            Busy: one is at work.
            UserError: the folder cannot be written.
        """
        try:
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise UserError(
                f"the run's folder {self.path} cannot be written: {error.strerror}"
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Busy(f"another process is working on {self.path}; wait for it") from None
            yield

    @contextmanager
    def locked_if_free(self) -> Iterator[bool]:
        """As :meth:`locked`, but tells whether no other process is at work."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self.locked())
            except Busy:
                yield False
            else:
                yield True

    def beside(self, path: Path) -> RunFolder:
        """A folder for files about the same study, which is made; it holds no run itself.

        Raises:
            UserError: it holds another run, or cannot be made.
        """
        if path.resolve() == self.path.resolve():
            return self
        self.must_be_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the output folder {path} cannot be written: {error}") from None
        return RunFolder(path, study_name=self.study_name, storage=self.storage)

    @property
    def best(self) -> Path:
        """Where the best architecture is exported to."""
        return self.path / BEST

    def write_results(self, trials: Sequence[Trial]) -> None:
        """Writes ``trials.csv``, ``pareto.csv`` and the best architecture anew."""
        for name, rows in (("trials.csv", trials), ("pareto.csv", pareto_front(trials))):
            write_atomically(self.path / name, trials_frame(rows).to_csv(index=False))
        best = most_accurate(trials)
        if best is not None and best.score is not None:
            self.best.parent.mkdir(exist_ok=True)
            write_atomically(
                self.best,
                f"# Trial {best.number} of {self.study_name}: proxy accuracy"
                f" {best.score.accuracy:.4f}, {best.estimate.macs} MACs, {best.estimate.params}"
                f" parameters, {best.estimate.latency_ms:.1f} ms predicted.\n"
                + best.proposal.spec.to_yaml(),
            )

    def write_card(self, card: SearchCard) -> None:
        """Writes ``card.json`` and ``card.md`` anew."""
        write_atomically(self.path / "card.json", card.to_json())
        write_atomically(self.path / "card.md", card.to_markdown())


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces a file in one step, so that a killed process leaves the old or the new one.

    Raises:
        OSError: it cannot be written; ``filename`` is its path.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        # Nobody asked for the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
