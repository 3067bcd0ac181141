"""What accuracies a run's or a training's folder holds of its network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from results.folder import POINTER, RunFolder
from search.config import RunConfig
from search.trained_folder import read_result
from search_space.budget import counted

if TYPE_CHECKING:
    from results.trial import Trial
    from search_space import NetworkSpec

Part = Literal["validation", "test"]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One measured accuracy of a condensed network.

    Args:
        accuracy: A fraction of the images.
        part: Of the data set, that it was measured on.
        data: The data set's name.
        training: What was done before, in words.
    """

    accuracy: float
    part: Part
    data: str
    training: str

    def __str__(self) -> str:
        return f"{self.accuracy:.1%} ({self.part} of {self.data}, {self.training})"


def measured_accuracies(folder: Path, spec: NetworkSpec) -> list[Accuracy]:
    """The accuracies of a network in its folder, those of longer trainings last.

    Args:
        folder: Of a training or of a run; of any other there are none.
        spec: The network that commands take for the folder: of a run, its best.

    Raises:
        UserError: what the folder holds cannot be read.
    """
    if (folder / POINTER).is_file():
        return _of_run(RunFolder.open(folder), spec)
    return _of_training(folder)


def _of_training(folder: Path) -> list[Accuracy]:
    result = read_result(folder)
    if result is None:
        return []
    training = f"recipe {result.recipe}, {counted(result.epochs, 'epoch')}"
    held_out = result.validation.top1 if result.validation is not None else None
    return _both(held_out, result.test.top1, result.data, training)


def _of_run(folder: RunFolder, spec: NetworkSpec) -> list[Accuracy]:
    study = folder.study()
    trials = [t for t in study.trials() if t.proposal.spec.id == spec.id]
    config = RunConfig.from_settings(study.settings)
    return [accuracy for trial in trials for accuracy in _of_trial(config, trial)]


def _of_trial(config: RunConfig, trial: Trial) -> list[Accuracy]:
    found: list[Accuracy] = []
    if trial.score is not None:
        pixels = config.rungs[max(len(trial.rungs), 1) - 1].resolution
        searched = f"in the search, {counted(trial.score.epochs, 'epoch')} at {pixels}x{pixels}"
        searched += f" on {config.images:,} images" if config.images else ""
        found += _both(trial.score.accuracy, None, config.data, searched)
    if (full := trial.retrained) is not None:
        training = f"recipe {full.recipe}, {counted(full.epochs, 'epoch')}"
        found += _both(full.accuracy, full.test_accuracy, config.data, training)
    return found


def _both(validation: float | None, test: float | None, data: str, training: str) -> list[Accuracy]:
    parts: dict[Part, float | None] = {"validation": validation, "test": test}
    return [
        Accuracy(accuracy=accuracy, part=part, data=data, training=training)
        for part, accuracy in parts.items()
        if accuracy is not None
    ]
