"""The folder of a run: where its study is, and the files that people take away.

::

    run.yaml                  storage URL and name of the study, which is the only record
    study.db                  the study, unless it lives in another storage
    trials.csv, pareto.csv    all trials; the Pareto front
    best/architecture.yaml    the most accurate network inside the budget
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from results.study import Study, sqlite_url
from results.tables import most_accurate, pareto_front, trials_frame
from results.trial import Trial
from search_space.errors import UserError

POINTER = "run.yaml"
BEST = Path("best") / "architecture.yaml"


class RunFolder:
    """One run's folder. Make one with :meth:`create` or :meth:`open`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def must_be_new(path: Path) -> None:
        """Raises UserError where a folder holds a run already."""
        if (path / POINTER).exists():
            raise UserError(
                f"{path} holds a run already; continue it with `search resume {path}`,"
                " or choose another --out"
            )

    @classmethod
    def create(cls, path: Path, storage: str | None) -> RunFolder:
        """A new run; its study is a SQLite file in the folder unless ``storage`` is a URL.

        Raises:
            UserError: the folder holds a run already, or cannot be written.
        """
        cls.must_be_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            url = storage or sqlite_url(path / "study.db")
            pointer = {"study": path.resolve().name, "storage": url if storage else None}
            write_atomically(path / POINTER, yaml.safe_dump(pointer, sort_keys=False))
        except OSError as error:
            raise UserError(f"the output folder {path} cannot be written: {error}") from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that exists; raises UserError where the folder holds none."""
        if not (path / POINTER).is_file():
            raise UserError(
                f"{path} holds no run: {path / POINTER} was looked for; name a folder that"
                " `search run` wrote"
            )
        return cls(path)

    def _pointer(self) -> dict[str, str | None]:
        path = self.path / POINTER
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from None
        if not isinstance(data, dict) or not isinstance(data.get("study"), str):
            raise UserError(f"{path}: must name the `study` (and its `storage`)")
        return data

    @property
    def storage(self) -> str:
        """The storage URL; a folder that was moved takes its own study along."""
        return self._pointer().get("storage") or sqlite_url(self.path / "study.db")

    @property
    def study_name(self) -> str:
        return str(self._pointer()["study"])

    def study(self) -> Study:
        """The run's study; raises UserError where it cannot be opened."""
        if self.storage == sqlite_url(self.path / "study.db"):
            self._check_sqlite(self.path / "study.db")
        return Study.load(self.storage, self.study_name)

    @staticmethod
    def _check_sqlite(path: Path) -> None:
        # Optuna would make an empty database where there is none.
        if not path.is_file():
            raise UserError(f"{path} was looked for and does not exist: the run has no study")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second process out; raises UserError where one is at work."""
        try:
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise UserError(f"the run's folder {self.path} cannot be written: {error}") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"another process is working on {self.path}; wait for it") from None
            yield

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


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file in one step, so that a killed process leaves the old or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
