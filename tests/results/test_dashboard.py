"""Notes and files of a study, as optuna-dashboard's library reads them back."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import download_artifact, get_all_artifact_meta
from optuna_dashboard import get_note, save_note

from results import dashboard
from results.dashboard import OPENING, Notes
from results.diagram import diagram
from results.folder import RunFolder
from results.storage import open_storage
from results.trial import Estimate, Proposal, Retrained, Score, Trial
from search_space import SearchSpace

Complete = Callable[..., Trial]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", None, {})


@pytest.fixture
def complete(
    folder: RunFolder,
    space: SearchSpace,
    proposal: Callable[..., Proposal],
    estimate: Estimate,
    score: Callable[[float], Score],
) -> Complete:
    """Writes a complete trial; how deep it is tells it from the others."""

    def make(depth: int, accuracy: float, latency_ms: float) -> Trial:
        study = folder.study()
        costs = dataclasses.replace(estimate, latency_ms=latency_ms)
        return study.complete(study.start(space, proposal(depth), costs, {}), score(accuracy))

    return make


@pytest.fixture
def notes(folder: RunFolder) -> Notes:
    return notes_in(folder.path, folder)


def notes_in(path: Path, of: RunFolder) -> Notes:
    """Notes of a run's study with their files in a folder."""
    return Notes(path, of.study(), open_storage(of.storage), "board/ncnn/1")


def shown(folder: RunFolder) -> optuna.Study:
    return optuna.load_study(study_name=folder.study_name, storage=folder.storage)


def note_of(folder: RunFolder, trial: Trial) -> str:
    study = shown(folder)
    return get_note(optuna.Trial(study, study.trials[trial.number]._trial_id))


def test_each_complete_trial_is_noted(folder: RunFolder, notes: Notes, complete: Complete) -> None:
    trial = complete(1, 0.5, 10.0)
    study = folder.study()
    notes.write()
    found = note_of(folder, trial)
    assert diagram(trial.proposal.spec) in found
    assert "50.00%" in found
    assert "10.0 ms on board/ncnn/1" in found
    later = complete(2, 0.25, 20.0)
    assert note_of(folder, later) == ""
    notes.write()
    assert "25.00%" in note_of(folder, later)
    assert study.trials()[0] == trial


def test_the_front_stands_in_the_note_of_the_study(
    folder: RunFolder, notes: Notes, complete: Complete
) -> None:
    notes.write()
    assert get_note(shown(folder)) == ""
    complete(1, 0.5, 10.0)
    complete(2, 0.25, 20.0)
    notes.write()
    found = get_note(shown(folder))
    assert found.startswith(OPENING)
    assert "| 0 | 50.00% | 10.0 |" in found
    assert "25.00%" not in found, "another is faster and more accurate"
    complete(3, 0.75, 30.0)
    notes.write()
    found = get_note(shown(folder))
    assert found.index("75.00%") < found.index("50.00%")


def test_what_people_have_noted_is_left(
    folder: RunFolder, notes: Notes, complete: Complete
) -> None:
    trial = complete(1, 0.5, 10.0)
    study = shown(folder)
    save_note(study, "my own")
    save_note(optuna.Trial(study, study.trials[0]._trial_id), "mine, too")
    notes.write()
    assert get_note(shown(folder)) == "my own"
    assert note_of(folder, trial) == "mine, too"


def test_what_people_have_added_to_the_note_of_the_study_is_left(
    folder: RunFolder, notes: Notes, complete: Complete
) -> None:
    complete(1, 0.5, 10.0)
    notes.write()
    changed = get_note(shown(folder)) + "\nThe second one is for the camera.\n"
    save_note(shown(folder), changed)
    complete(2, 0.75, 20.0)
    notes.write()
    notes_in(folder.path, folder).write()
    assert get_note(shown(folder)) == changed


def test_the_next_who_opens_the_dashboard_goes_on_with_the_note(
    folder: RunFolder, notes: Notes, complete: Complete
) -> None:
    complete(1, 0.5, 10.0)
    notes.write()
    complete(2, 0.75, 20.0)
    notes_in(folder.path, folder).write()
    assert "75.00%" in get_note(shown(folder))


@pytest.fixture
def train(folder: RunFolder) -> Callable[[Trial, str, bytes], None]:
    """Writes a full training of a trial, in a folder of a run, with an ONNX file."""

    def trained(trial: Trial, where: str, content: bytes) -> None:
        (folder.path / where).mkdir(parents=True)
        (folder.path / where / "model.onnx").write_bytes(content)
        folder.study().record_retrained(
            trial.number,
            Retrained(accuracy=0.9, test_accuracy=0.9, recipe="r", epochs=2, folder=where),
        )

    return trained


def linked(folder: RunFolder, artifacts: Path) -> dict[str, bytes]:
    """The files that the study's note links, by their names there."""
    links = re.findall(r"\[([^\]]+)\]\([^)]*/([^/)]+)\)", get_note(shown(folder)))
    return {name: (artifacts / artifact_id).read_bytes() for name, artifact_id in links}


def test_the_winners_files_are_attached_once_and_linked(
    folder: RunFolder,
    notes: Notes,
    complete: Complete,
    train: Callable[[Trial, str, bytes], None],
    tmp_path: Path,
) -> None:
    trial = complete(1, 0.5, 10.0)
    notes.write()
    notes.write()
    (meta,) = get_all_artifact_meta(shown(folder))
    assert meta.filename == "trial-0-architecture.yaml"
    assert f"/{meta.artifact_id})" in get_note(shown(folder))
    copy = tmp_path / "copy"
    download_artifact(artifact_store=notes.store, file_path=str(copy), artifact_id=meta.artifact_id)
    assert copy.read_text() == trial.proposal.spec.to_yaml()

    train(trial, "retrained/0-quick-0", b"a network")
    notes.write()
    names = {meta.filename for meta in get_all_artifact_meta(shown(folder))}
    assert names == {"trial-0-architecture.yaml", "trial-0-quick-0-model.onnx"}


@pytest.mark.parametrize("where", ["retrained/0-long-0", "elsewhere/0-quick-0"])
def test_the_files_of_a_second_full_training_are_attached(
    where: str,
    folder: RunFolder,
    notes: Notes,
    complete: Complete,
    train: Callable[[Trial, str, bytes], None],
) -> None:
    trial = complete(1, 0.5, 10.0)
    for name, content in (("retrained/0-quick-0", b"a network"), (where, b"another")):
        train(trial, name, content)
        notes.write()
        found = linked(folder, folder.path / "artifacts")
        assert found.keys() == {
            "trial-0-architecture.yaml",
            f"trial-{Path(name).name}-model.onnx",
        }
        assert content in found.values()


def test_runs_that_share_a_study_link_files_of_their_own_folder(
    folder: RunFolder, notes: Notes, complete: Complete, tmp_path: Path
) -> None:
    trial = complete(1, 0.5, 10.0)
    other = tmp_path / "other"
    other.mkdir()
    for path, opened in ((folder.path, notes), (other, notes_in(other, folder))):
        opened.write()
        (content,) = linked(folder, path / "artifacts").values()
        assert content.decode() == trial.proposal.spec.to_yaml()
        note = get_note(shown(folder))
    notes.write()
    assert get_note(shown(folder)) == note, "two that are open do not take turns"


def test_no_more_are_noted_at_once_than_is_quick(
    folder: RunFolder, notes: Notes, complete: Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "MOST_AT_ONCE", 1)
    slow, best = complete(1, 0.25, 20.0), complete(2, 0.5, 10.0)
    notes.write()
    assert note_of(folder, best)
    assert not note_of(folder, slow)
    notes.write()
    assert note_of(folder, slow)


def test_they_are_kept_up_to_date(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    written = threading.Event()
    monkeypatch.setattr(dashboard, "EVERY_S", 0.01)
    monkeypatch.setattr(notes, "write", written.set)
    with notes.kept_up_to_date():
        assert written.wait(10)
