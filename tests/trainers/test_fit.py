"""A training that is watched, killed and taken up again."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from results.trial import EpochRow, StepRow
from search_space import NetworkSpec, UserError
from search_space.network import Network
from trainers.checkpoint import load_checkpoint
from trainers.data import DataSplits
from trainers.fit import Interrupted, fit
from trainers.recipe import Recipe
from trainers.training import Training, TrainingFailed

RECIPE = Recipe(name="two epochs", epochs=2, batch_size=48, dropout=0.1, ema_decay=0.5)
"""Four updates of the 96 digits."""
SETTINGS = {"recipe": RECIPE.to_dict(), "seed": 0}


@dataclasses.dataclass
class Watching:
    """Writes down what it is told, and sends this process signals after some updates."""

    checkpoint: Path
    signals: dict[int, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    told: list[str] = dataclasses.field(default_factory=list)

    def begun(self, training: Training) -> None:
        self.told.append(f"begun at {training.step}")

    def updated(self, training: Training) -> None:
        self.told.append(f"updated {training.step}")
        for number in self.signals.get(training.step, ()):
            os.kill(os.getpid(), number)

    def step(self, row: StepRow) -> None:
        self.told.append(f"step {row.step}")

    def epoch(self, row: EpochRow, training: Training) -> None:
        assert row is training.epoch_rows[-1]
        written = load_checkpoint(self.checkpoint, SETTINGS)
        assert written["step"] == row.step == training.step
        assert written["epoch_rows"][-1] == dataclasses.asdict(row)
        self.told.append(f"epoch {row.epoch}")


@pytest.fixture
def begin(small: NetworkSpec, few: DataSplits, fabric: Fabric) -> Callable[..., Training]:
    def make(**changes: Any) -> Training:
        return Training(small, few, RECIPE.replace(**changes), seed=0, fabric=fabric)

    return make


def equal(one: Network, other: Network) -> bool:
    tensors = other.state_dict()
    return all(torch.equal(tensor, tensors[name]) for name, tensor in one.state_dict().items())


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def updates(first: int, last: int) -> list[str]:
    return [f"{what} {n}" for n in range(first, last + 1) for what in ("updated", "step")]


def test_the_watcher_is_told_in_order(begin: Any, tmp_path: Path) -> None:
    before = handlers()
    watching = Watching(tmp_path / "checkpoint.pt")
    network = fit(begin(), watching.checkpoint, SETTINGS, watching)
    expected = ["begun at 0", *updates(1, 2), "epoch 1", *updates(3, 4), "epoch 2"]
    assert watching.told == expected
    assert not network.training
    assert all(layer.is_condensed for layer in network.learned_layers.values())
    assert handlers() == before


@pytest.mark.parametrize(("number", "when"), [(signal.SIGTERM, 2), (signal.SIGINT, 1)])
def test_who_is_killed_goes_on_as_if_nothing_had_been(
    begin: Any, tmp_path: Path, number: int, when: int
) -> None:
    before = handlers()
    path = tmp_path / "checkpoint.pt"
    whole = fit(begin(), tmp_path / "whole.pt", SETTINGS, Watching(tmp_path / "whole.pt"))
    watching = Watching(path, {when: (number,)})
    # The signal comes after an update, and is answered after the next one.
    with pytest.raises(Interrupted, match=rf"^stopped after update {when + 1} of 4$"):
        fit(begin(), path, SETTINGS, watching)
    assert handlers() == before
    assert f"step {when + 1}" in watching.told
    assert load_checkpoint(path, SETTINGS)["step"] == when + 1
    again = Watching(path)
    assert equal(fit(begin(), path, SETTINGS, again), whole)
    assert again.told[0] == f"begun at {when + 1}"
    assert [t for t in again.told if t.startswith("updated")] == [
        f"updated {n}" for n in range(when + 2, 5)
    ]


def test_a_second_ctrl_c_ends_it_at_once(begin: Any, tmp_path: Path) -> None:
    before = handlers()
    watching = Watching(tmp_path / "checkpoint.pt", {1: (signal.SIGINT, signal.SIGINT)})
    with pytest.raises(KeyboardInterrupt):
        fit(begin(), watching.checkpoint, SETTINGS, watching)
    assert handlers() == before
    assert not watching.checkpoint.exists()


def test_what_has_ended_is_only_finished(begin: Any, tmp_path: Path) -> None:
    watching = Watching(tmp_path / "checkpoint.pt")
    network = fit(begin(), watching.checkpoint, SETTINGS, watching)
    watching.told.clear()
    assert equal(fit(begin(), watching.checkpoint, SETTINGS, watching), network)
    assert watching.told == ["begun at 4"]


def test_other_settings_are_refused_before_anything_is_trained(begin: Any, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    watching = Watching(path, {1: (signal.SIGTERM,)})
    with pytest.raises(Interrupted):
        fit(begin(), path, SETTINGS, watching)
    written = path.read_bytes()
    watching.told.clear()
    with pytest.raises(UserError, match=r"^`seed` was 0 when"):
        fit(begin(), path, {**SETTINGS, "seed": 1}, watching)
    assert watching.told == []
    assert path.read_bytes() == written


def test_a_failure_gives_the_handlers_back(begin: Any, tmp_path: Path) -> None:
    before = handlers()
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(TrainingFailed, match=r"^the loss became"):
        fit(begin(learning_rate=1e12, batch_size=8), path, SETTINGS, Watching(path))
    assert handlers() == before
