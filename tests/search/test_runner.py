"""The study loop over rungs, with trainings that are only pretended."""

from __future__ import annotations

import dataclasses
import errno
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from results.folder import RunFolder
from results.trial import Score, Trial
from search import runner
from search.config import RunConfig
from search.executors import Here
from search.jobs import Job
from search.limits import Limits
from search.runner import Ready
from search_space import UserError, space
from searchers.aims import AIMS, Aim
from searchers.condense import START
from searchers.rungs import Halving
from trainers.training import TrainingFailed

HALVING = Halving.parse("1@8,3@8,3@16", resolution=32, keep=2)
Call = tuple[str, int, int, int]
"""Network, epochs, resolution and seed of a training."""


class Trainings:
    """Stands in for trainings: accuracies follow from network and rung.

    The ``killed_at``-th training ends the process, those of ``failing`` epochs fail.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.killed_at = 0
        self.failing = 0

    def __call__(self, job: Job, *_: Any) -> Score:
        spec, (epochs, resolution) = job.trial.proposal.spec, (job.rung.epochs, job.rung.resolution)
        self.calls.append((spec.id, epochs, resolution, job.seed))
        if len(self.calls) == self.killed_at:
            raise KeyboardInterrupt
        if epochs == self.failing:
            raise TrainingFailed("no luck")
        fraction = int(spec.id[:4], 16) / 0xFFFF
        return Score(
            accuracy=fraction * epochs * resolution / 48,
            loss=1.0,
            epochs=epochs,
            wall_s=float(len(self.calls)),
        )


class Watch:
    """A display that writes down which rungs were begun."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.warnings: list[str] = []

    def started(self, config: RunConfig, data: Any, trials: Sequence[Trial]) -> None: ...

    def training_begun(self, trial: Trial) -> None:
        self.begun.append((trial.number, len(trial.rungs) + 1))

    def trial_step(self, trial: Trial, step: int, steps: int) -> None: ...

    def training_stopped(self, trial: Trial) -> None: ...

    def trial_ended(self, trial: Trial) -> None: ...

    def waiting(self, trials: int) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    made = Trainings()
    monkeypatch.setattr(runner, "Here", lambda data, progress: Here(data, progress, made))
    return made


@pytest.fixture
def config(space_file: Path) -> RunConfig:
    return RunConfig(
        space=space(str(space_file)),
        limits=Limits(macs=1_000_000),
        searcher="random",
        data="digits",
        trials=7,
        halving=HALVING,
    )


@pytest.fixture
def ready(config: RunConfig) -> Ready:
    return runner.prepare(config)


def go(config: RunConfig, ready: Ready, path: Path, **options: Any) -> list[Trial]:
    """Begins a run in a folder, or goes on with the one that is there."""
    begun = (path / "run.yaml").exists()
    folder = RunFolder.open(path) if begun else RunFolder.create(path, None, config.to_settings())
    watch = options.pop("watch", None) or Watch()
    return list(runner.run(config, ready, folder, folder.study(), watch, **options).trials)


def test_settings_come_back_and_those_without_rungs_are_read(config: RunConfig) -> None:
    assert RunConfig.from_settings(config.to_settings()) == config
    without = dataclasses.replace(config, halving=None)
    assert RunConfig.from_settings(without.to_settings()) == without
    before = {**without.to_settings(), "version": 2}
    del before["halving"], before["images"], before["aim"], before["begin_with"]
    before["space"]["stem_stride"] = before["space"].pop("stem_strides")[0]
    assert RunConfig.from_settings(before) == without
    with pytest.raises(UserError, match="version 1, read here are 2, 3, 4, 5, 6; continue it with"):
        RunConfig.from_settings({"version": 1})


def test_data_are_read_at_every_resolution(ready: Ready) -> None:
    assert sorted(ready.data) == [8, 16]


def test_networks_go_on_as_the_rule_says(
    config: RunConfig, ready: Ready, trainings: Trainings, tmp_path: Path
) -> None:
    watch = Watch()
    trials = go(config, ready, tmp_path / "run", watch=watch)
    assert [t.state for t in trials] == ["complete"] * 7
    assert all(t.score == t.rungs[-1] for t in trials)
    for trial in trials:
        known = trials[: trial.number + 1]
        for number in range(1, len(HALVING.rungs)):
            if len(trial.rungs) >= number:
                then = dataclasses.replace(trial, rungs=trial.rungs[:number])
                assert HALVING.goes_on(then, known[:-1]) == (len(trial.rungs) > number)
    assert len(trials[0].rungs) == 3, "the first has nobody to be compared with"
    assert {len(t.rungs) for t in trials} == {1, 2, 3}

    fidelities = [(rung.epochs, rung.resolution) for rung in HALVING.rungs]
    in_order = [(t, fidelities[n]) for t in trials for n in range(len(t.rungs))]
    assert [(c[0], c[1:3]) for c in trainings.calls] == [
        (t.proposal.spec.id, fidelity) for t, fidelity in in_order
    ]
    assert len({c[3] for c in trainings.calls}) == 7, "a seed per trial, the same in all rungs"
    assert watch.begun == [(t.number, n + 1) for t in trials for n in range(len(t.rungs))]


@pytest.mark.parametrize("aim", AIMS)
def test_the_default_searcher_learns_from_three_rungs(
    aim: Aim, config: RunConfig, ready: Ready, trainings: Trainings, tmp_path: Path
) -> None:
    """Beyond its first networks, which it proposes without a model."""
    config = dataclasses.replace(config, searcher="condense", aim=aim, trials=START + 4)
    trials = go(config, ready, tmp_path / "run")
    assert [t.state for t in trials] == ["complete"] * (START + 4)
    assert {1, 3} <= {len(t.rungs) for t in trials}


def test_for_the_best_accuracy_the_most_accurate_networks_go_on(
    config: RunConfig, ready: Ready, trainings: Trainings, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, aim="accuracy", trials=12)
    trials = go(config, ready, tmp_path / "run")
    for trial in trials:
        accuracies = [t.rungs[0].accuracy for t in trials[: trial.number + 1]]
        better = sum(accuracy > accuracies[-1] for accuracy in accuracies)
        kept = max(len(accuracies) // HALVING.keep, len(accuracies) == 1)
        assert (len(trial.rungs) > 1) == (better < kept)


@pytest.mark.parametrize("killed_at", [1, 2, 4])
def test_wherever_it_is_killed_no_rung_is_trained_twice(
    killed_at: int, config: RunConfig, ready: Ready, trainings: Trainings, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, trials=3)
    whole = go(config, ready, tmp_path / "whole")
    calls = list(trainings.calls)
    assert len(calls) > 4

    trainings.calls.clear()
    trainings.killed_at = killed_at
    with pytest.raises(KeyboardInterrupt):
        go(config, ready, tmp_path / "killed")
    resumed = go(config, ready, tmp_path / "killed")
    del trainings.calls[killed_at - 1]
    assert trainings.calls == calls, "only the training that was killed begins anew"
    assert [(t.proposal, len(t.rungs)) for t in resumed] == [
        (t.proposal, len(t.rungs)) for t in whole
    ]


def test_killed_between_a_score_and_its_consequence(
    config: RunConfig,
    ready: Ready,
    trainings: Trainings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = dataclasses.replace(config, trials=4)
    whole = go(config, ready, tmp_path / "whole")
    calls = list(trainings.calls)
    stopping = next(t.number for t in whole if len(t.rungs) == 1)
    original = Halving.goes_on

    def killed(self: Halving, trial: Trial, trials: Any) -> bool:
        if trial.number == stopping:
            raise KeyboardInterrupt
        return original(self, trial, trials)

    trainings.calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Halving, "goes_on", killed)
        with pytest.raises(KeyboardInterrupt):
            go(config, ready, tmp_path / "killed")
    resumed = go(config, ready, tmp_path / "killed")
    assert trainings.calls == calls
    assert [len(t.rungs) for t in resumed] == [len(t.rungs) for t in whole]


def test_a_network_that_fails_in_a_later_rung_is_failed(
    config: RunConfig, ready: Ready, trainings: Trainings, tmp_path: Path
) -> None:
    trainings.failing = 3
    config = dataclasses.replace(config, trials=3)
    trials = go(config, ready, tmp_path / "run")
    assert (trials[0].state, len(trials[0].rungs)) == ("failed", 1)
    assert sum(t.state == "complete" for t in trials) == 3
    assert {len(t.rungs) for t in trials} == {1}


def test_no_rung_begins_after_the_time_limit(
    config: RunConfig, ready: Ready, trainings: Trainings, tmp_path: Path
) -> None:
    assert go(config, ready, tmp_path / "run", timeout_s=0.0) == []
    now = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.time, "monotonic", lambda: now + 5.0 * len(trainings.calls))
        (trial,) = go(config, ready, tmp_path / "run", timeout_s=1.0)
    assert (trial.state, len(trial.rungs)) == ("running", 1)
    (first,) = go(dataclasses.replace(config, trials=1), ready, tmp_path / "run")
    assert (first.number, first.state, len(first.rungs)) == (0, "complete", 3)
    assert first.rungs[0] == trial.rungs[0]


def test_without_rungs_trials_are_as_they_were(
    config: RunConfig, ready: Ready, trainings: Trainings, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, halving=None, resolution=16, trials=3)
    trials = go(config, ready, tmp_path / "run")
    assert [t.rungs for t in trials] == [()] * 3
    assert [c[1:3] for c in trainings.calls] == [(config.recipe.epochs, 16)] * 3


def test_files_that_cannot_be_written_do_not_stop_the_search(
    config: RunConfig,
    ready: Ready,
    trainings: Trainings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_only(*_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "trials.csv")

    watch = Watch()
    config = dataclasses.replace(config, trials=3, halving=None, resolution=16)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_results", read_only)
        with pytest.raises(UserError, match=r"cannot be written: .*Read-only file system: 'trials"):
            go(config, ready, tmp_path / "run", watch=watch)
    assert len(watch.warnings) == 1
    assert not (tmp_path / "run" / "trials.csv").exists()
    assert [t.state for t in RunFolder.open(tmp_path / "run").study().trials()] == ["complete"] * 3
    go(config, ready, tmp_path / "run")
    assert len(trainings.calls) == 3
    assert (tmp_path / "run" / "trials.csv").exists()


@pytest.mark.parametrize("noted", [{"gpu": "none"}, "nothing that is known"])
def test_what_others_noted_of_themselves_does_not_stop_the_search(
    config: RunConfig, ready: Ready, trainings: Trainings, tmp_path: Path, noted: object
) -> None:
    config = dataclasses.replace(config, trials=1, halving=None, resolution=16)
    go(config, ready, tmp_path / "run")
    RunFolder.open(tmp_path / "run").study()._study.set_user_attr("session other", noted)
    watch = Watch()
    go(dataclasses.replace(config, trials=2), ready, tmp_path / "run", watch=watch)
    assert len(trainings.calls) == 2
    damaged = isinstance(noted, str)
    assert all("there is no search card: " in warning for warning in watch.warnings)
    assert bool(watch.warnings) == damaged


def test_a_loss_that_is_not_finite_fails_its_trial_only(
    config: RunConfig, ready: Ready, trainings: Trainings, tmp_path: Path
) -> None:
    trainings.failing = 1
    with pytest.raises(UserError, match="the last 5 trainings failed, the last because no luck"):
        go(config, ready, tmp_path / "run")
    failed = RunFolder.open(tmp_path / "run").study().trials()
    assert [t.failure for t in failed] == ["no luck"] * 5
    trainings.failing = 0
    assert sum(t.state == "complete" for t in go(config, ready, tmp_path / "run")) == 7
