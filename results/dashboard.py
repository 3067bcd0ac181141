"""What optuna-dashboard shows of a study besides its values: notes, and the files of the winner.

Nothing of it is written while a search runs by itself: whoever opens the dashboard writes it, for
runs of any age, and goes on while the search does. What people have noted is left as it is.
"""

from __future__ import annotations

import filecmp
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.storages import BaseStorage
from optuna_dashboard import get_note, save_note
from optuna_dashboard.artifact import get_artifact_path

from results.diagram import diagram
from results.making import no_sampler
from results.markdown import markdown_table
from results.patience import StorageFailed
from results.study import Study
from results.tables import most_accurate, pareto_front
from results.trial import Trial
from search_space import format_count
from search_space.digests import short_hash

EVERY_S = 10.0
MOST_AT_ONCE = 50
"""Notes; each makes the dashboard's library read all of them."""
OPENING = "### Pareto front"
"""How the note of a study begins."""
TAKEN_AWAY = ("condensed.safetensors", "model.onnx", "card.md")
"""Files of a winner trained in full."""
FRONT_NOTE = "front_note"
"""The study's attribute with the first digits of the SHA-256 of the note that was last written."""


class Notes:
    """Keeps the notes and files of a run's study up to date; raises OSError where its folder, and
    StorageFailed where its storage cannot be written.

    Args:
        folder: Of the run.
        study: The run's.
        storage: That of the study, as the dashboard reads it.
        device: The board whose milliseconds were predicted.
    """

    def __init__(self, folder: Path, study: Study, storage: BaseStorage, device: str) -> None:
        self._folder = folder
        self._device = device
        self._study = study
        self._optuna = optuna.load_study(
            study_name=study.name, storage=storage, sampler=no_sampler()
        )
        self._artifacts = folder / "artifacts"
        self._artifacts.mkdir(exist_ok=True)
        self.store = FileSystemArtifactStore(self._artifacts)
        self._trials: dict[int, Trial] = {}
        self._noted: set[int] = set()
        self._front = ""
        """The note of the study as this process last wrote it."""

    def write(self) -> None:
        """Notes what has ended since, the front first."""
        self._trials |= {trial.number: trial for trial in self._study.changed()}
        trials = list(self._trials.values())
        front = pareto_front(trials)
        waiting = [
            trial
            for trial in (*front, *reversed(trials))
            if trial.state == "complete" and trial.number not in self._noted
        ]
        for trial in waiting[:MOST_AT_ONCE]:
            self._note(self._optuna_trial(trial), note(trial, self._device))
            self._noted.add(trial.number)
        best = most_accurate(trials)
        if best is not None:
            best = self._study.trial(best.number)  # which may have been trained in full since
            self._note_front(front_note(front, self._device, self._attached(best)))

    def _note_front(self, text: str) -> None:
        """Writes the note of the study, unless a person has changed what was last written there."""
        before = get_note(self._optuna)
        last = self._optuna.user_attrs.get(FRONT_NOTE)
        ours = not before or short_hash([before.encode()]) == last
        # What another process has written of the same front since is as good.
        if ours and text not in (before, self._front):
            save_note(self._optuna, text)
            self._optuna.set_user_attr(FRONT_NOTE, short_hash([text.encode()]))
            self._front = text

    def _optuna_trial(self, trial: Trial) -> optuna.Trial:
        storage, study_id = self._optuna._storage, self._optuna._study_id
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        return optuna.Trial(self._optuna, trial_id)

    def _note(self, on: optuna.Trial, text: str) -> None:
        if not get_note(on):
            save_note(on, text)

    def _attached(self, best: Trial) -> dict[str, str]:
        """The winner's files by name: where the dashboard serves them. They are the study's, as a
        trial that has ended takes none."""
        # What is uploaded has the name of its file, so files are given one for a moment.
        with tempfile.TemporaryDirectory() as name:
            named = Path(name)
            (named / f"trial-{best.number}-architecture.yaml").write_text(
                best.proposal.spec.to_yaml(), encoding="utf-8"
            )
            if best.retrained is not None:
                trained = self._folder / best.retrained.folder
                for file in filter(Path.is_file, (trained / name for name in TAKEN_AWAY)):
                    # The folder's name begins with the trial's number.
                    (named / f"trial-{trained.name}-{file.name}").symlink_to(file.resolve())
            return {
                file.name: get_artifact_path(self._optuna, self._held(file) or self._upload(file))
                for file in sorted(named.iterdir())
            }

    def _held(self, file: Path) -> str | None:
        """Which artifact in this folder is a file; runs that share a study have folders of their
        own."""
        for meta in get_all_artifact_meta(self._optuna):
            held = self._artifacts / meta.artifact_id
            same = meta.filename == file.name and held.is_file()
            if same and filecmp.cmp(file, held, shallow=False):
                return meta.artifact_id
        return None

    def _upload(self, file: Path) -> str:
        return upload_artifact(
            artifact_store=self.store, file_path=str(file), study_or_trial=self._optuna
        )

    @contextmanager
    def kept_up_to_date(self) -> Iterator[None]:
        """Writes every ``EVERY_S`` seconds, in a thread of its own, until the storage fails."""
        stopped = threading.Event()

        def run() -> None:
            try:
                while not stopped.wait(EVERY_S):
                    self.write()
            except (StorageFailed, OSError):
                return  # the dashboard goes on without

        thread = threading.Thread(target=run, name="notes", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def note(trial: Trial, device: str) -> str:
    """A complete trial's network in Markdown: what it scored, what it costs, how it is made."""
    assert trial.score is not None
    e = trial.estimate
    return (
        f"**{trial.proposal.spec.id}**: {trial.score.accuracy:.2%} after"
        f" {trial.score.epochs} epochs, {format_count(e.macs)} multiply-adds,"
        f" {format_count(e.params)} parameters, {e.latency_ms:.1f} ms on {device}"
        f" (from {e.latency_low_ms:.1f} to {e.latency_high_ms:.1f})\n\n"
        f"```text\n{diagram(trial.proposal.spec)}\n```\n"
    )


def front_note(front: Sequence[Trial], device: str, links: Mapping[str, str]) -> str:
    """The Pareto front in Markdown, the most accurate first, and links to files of that one."""
    rows = [
        (
            *(t.number, f"{t.objectives[0]:.2%}", f"{t.estimate.latency_ms:.1f}"),
            *(format_count(t.estimate.macs), format_count(t.estimate.params)),
        )
        for t in reversed(front)
    ]
    header = ("trial", "accuracy", f"ms on {device}", "multiply-adds", "parameters")
    files = ", ".join(f"[{name}]({path})" for name, path in sorted(links.items()))
    return (
        f"{OPENING}\n\n{markdown_table(header, rows, align='rrrrr')}\n\n"
        + f"The most accurate one: {files}\n" * bool(files)
    )
