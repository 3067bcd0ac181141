"""Trackers: what they are sent, and that a continued training goes on in the same run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from results.trackers import PROJECT, TRACKERS, epoch_scalars, flat, step_scalars
from results.trial import EpochRow, StepRow
from search_space import UserError

SETTINGS = {"network": "condensenet-50", "batch": 64, "schedule": {"epochs": 3, "nesterov": True}}
STEP_NAMES = {"loss/train", "learning_rate", "density"}
EPOCH_NAMES = {"top1/train", "loss/validation", "top1/validation", "top5/validation"} | {
    "images_per_s"
}


def step_row(step: int, loss: float = 1.5) -> StepRow:
    return StepRow(step=step, progress=step / 40, learning_rate=0.1, loss=loss, density=0.75)


def epoch_row(epoch: int, *, validated: bool = True) -> EpochRow:
    return EpochRow(
        epoch=epoch,
        step=10 * epoch,
        learning_rate=0.1,
        train_loss=1.5,
        train_top1=0.5,
        val_loss=1.25 if validated else None,
        val_top1=0.625 if validated else None,
        val_top5=0.875 if validated else None,
        density=0.75,
        images_per_s=100.0,
        wall_s=2.0,
    )


def interrupted_and_continued(tracker: str, folder: Path) -> None:
    """Two epochs and half of the third; then, from the second on, the third anew."""
    first = TRACKERS[tracker](folder, "a training", SETTINGS, 0)
    for epoch in (1, 2):
        first.step(step_row(10 * epoch))
        first.epoch(epoch_row(epoch, validated=epoch == 1))
    first.step(step_row(25, loss=99.0))
    first.close()
    second = TRACKERS[tracker](folder, "a training", SETTINGS, 20)
    second.step(step_row(30, loss=0.5))
    second.epoch(epoch_row(3))
    second.close()


# --- What is sent -----------------------------------------------------------------------------


def test_rows_are_sent_as_named_numbers() -> None:
    assert step_scalars(step_row(10)) == {"loss/train": 1.5, "learning_rate": 0.1, "density": 0.75}
    assert epoch_scalars(epoch_row(1)) == {
        "top1/train": 0.5,
        "loss/validation": 1.25,
        "top1/validation": 0.625,
        "top5/validation": 0.875,
        "images_per_s": 100.0,
    }


def test_what_was_not_measured_is_not_sent() -> None:
    assert set(epoch_scalars(epoch_row(1, validated=False))) == {"top1/train", "images_per_s"}


def test_settings_are_flat_where_they_must_be() -> None:
    assert flat(SETTINGS) == {
        "network": "condensenet-50",
        "batch": 64,
        "schedule.epochs": 3,
        "schedule.nesterov": True,
    }


# --- TensorBoard ------------------------------------------------------------------------------


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))  # type: ignore[no-untyped-call]
    return found.Reload()  # type: ignore[no-untyped-call]


def test_tensorboard_shows_a_continued_training_as_one(tmp_path: Path) -> None:
    interrupted_and_continued("tensorboard", tmp_path)
    found = events(tmp_path)
    assert set(found.Tags()["scalars"]) == STEP_NAMES | EPOCH_NAMES
    loss = [(event.step, event.value) for event in found.Scalars("loss/train")]
    assert loss == [(10, 1.5), (20, 1.5), (30, 0.5)], "what came after the second epoch is redone"
    validated = [(event.step, event.value) for event in found.Scalars("top1/validation")]
    assert validated == [(10, 0.625), (30, 0.625)]
    (text,) = found.Tensors("settings/text_summary")
    said = text.tensor_proto.string_val[0].decode()
    assert "a training" in said
    assert '"network": "condensenet-50"' in said


def test_an_epoch_is_on_disk_when_it_is_done(tmp_path: Path) -> None:
    tracker = TRACKERS["tensorboard"](tmp_path, "a training", {}, 0)
    tracker.epoch(epoch_row(1))
    assert [event.step for event in events(tmp_path).Scalars("top1/train")] == [10]
    tracker.close()


def test_a_training_that_begins_again_leaves_nothing_of_before(tmp_path: Path) -> None:
    for loss in (99.0, 1.5):
        tracker = TRACKERS["tensorboard"](tmp_path, "a training", {}, 0)
        tracker.step(step_row(10, loss))
        tracker.close()
    assert [event.value for event in events(tmp_path).Scalars("loss/train")] == [1.5]


# --- MLflow -----------------------------------------------------------------------------------


class FakeMLflow:
    """The part of MLflow's client that is used; it remembers runs by their number."""

    class MlflowException(Exception):
        pass

    def __init__(self) -> None:
        self.uris: list[str] = []
        self.experiments: list[tuple[str, str | None]] = []
        self.runs: dict[str, SimpleNamespace] = {}

    def client(self, tracking_uri: str) -> FakeMLflow:
        self.uris.append(tracking_uri)
        return self

    def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        known = [n for n, _ in self.experiments]
        return SimpleNamespace(experiment_id=known.index(name)) if name in known else None

    def create_experiment(self, name: str, artifact_location: str | None) -> int:
        self.experiments.append((name, artifact_location))
        return len(self.experiments) - 1

    def create_run(self, experiment_id: int, run_name: str) -> SimpleNamespace:
        id = f"run-{len(self.runs)}"
        self.runs[id] = SimpleNamespace(
            name=run_name, experiment=experiment_id, status="RUNNING", params={}, metrics=[]
        )
        return SimpleNamespace(info=SimpleNamespace(run_id=id))

    def update_run(self, run_id: str, status: str) -> None:
        if run_id not in self.runs:
            raise self.MlflowException(f"Run with id={run_id} not found")
        self.runs[run_id].status = status

    def log_batch(self, run_id: str, metrics: tuple[Any, ...] = (), params: Any = ()) -> None:
        assert self.runs[run_id].status == "RUNNING"
        self.runs[run_id].params |= dict(params)
        self.runs[run_id].metrics += [(name, value, step) for name, value, _, step in metrics]

    def set_terminated(self, run_id: str) -> None:
        self.runs[run_id].status = "FINISHED"


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMLflow:
    fake = FakeMLflow()
    entities = SimpleNamespace(Metric=lambda *a: a, Param=lambda *a: a)
    module = SimpleNamespace(
        MlflowClient=fake.client, exceptions=SimpleNamespace(MlflowException=fake.MlflowException)
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)  # type: ignore[arg-type]
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return fake


def test_mlflow_continues_the_same_run(mlflow: FakeMLflow, tmp_path: Path) -> None:
    interrupted_and_continued("mlflow", tmp_path)
    assert mlflow.uris == [f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"] * 2
    assert mlflow.experiments == [(PROJECT, (tmp_path / "mlflow" / "artifacts").as_uri())]
    (run,) = mlflow.runs.values()
    assert (run.name, run.status) == ("a training", "FINISHED")
    assert run.params == {
        "network": "condensenet-50",
        "batch": "64",
        "schedule.epochs": "3",
        "schedule.nesterov": "true",
    }
    losses = [(step, value) for name, value, step in run.metrics if name == "loss/train"]
    assert losses == [(10, 1.5), (20, 1.5), (25, 99.0), (30, 0.5)]


def test_mlflow_keeps_to_the_server_it_is_told(
    mlflow: FakeMLflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    for name in ("one", "two"):
        TRACKERS["mlflow"](tmp_path / name, name, {}, 0)
    assert set(mlflow.uris) == {"http://tracking.example"}
    assert mlflow.experiments == [(PROJECT, None)]
    assert [run.name for run in mlflow.runs.values()] == ["one", "two"]


def test_a_run_that_mlflow_lacks_is_named(mlflow: FakeMLflow, tmp_path: Path) -> None:
    TRACKERS["mlflow"](tmp_path, "a training", {}, 0)
    mlflow.runs.clear()
    with pytest.raises(UserError, match=r"Run with id=run-0 not found; set MLFLOW_TRACKING_URI"):
        TRACKERS["mlflow"](tmp_path, "a training", {}, 20)


def test_mlflow_itself_takes_a_continued_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    interrupted_and_continued("mlflow", tmp_path)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    number = client.get_experiment_by_name(PROJECT).experiment_id
    (run,) = client.search_runs([number])
    assert (run.info.run_name, run.info.status) == ("a training", "FINISHED")
    assert run.data.params["schedule.epochs"] == "3"
    assert set(run.data.metrics) == STEP_NAMES | EPOCH_NAMES
    history = client.get_metric_history(run.info.run_id, "loss/train")
    assert sorted((m.step, m.value) for m in history) == [
        (10, 1.5),
        (20, 1.5),
        (25, 99.0),
        (30, 0.5),
    ]


# --- Weights & Biases -------------------------------------------------------------------------

WANDB_VARIABLES = ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT")


class FakeWandB(ModuleType):
    """The part of wandb that is used; it remembers how each run was opened and what it got."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("wandb")
        self.Settings = SimpleNamespace
        self.opened: list[dict[str, Any]] = []
        self.logged: list[tuple[dict[str, float], int]] = []
        self.finished = 0
        self.broken = False

    def init(self, **how: Any) -> FakeWandB:
        if self.broken:
            raise self.Error("no API key configured")
        self.opened.append(how)
        return self

    def log(self, scalars: dict[str, float], step: int) -> None:
        self.logged.append((scalars, step))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandB:
    fake = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for name in WANDB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return fake


def test_wandb_continues_the_same_run_offline(wandb: FakeWandB, tmp_path: Path) -> None:
    interrupted_and_continued("wandb", tmp_path)
    first, second = wandb.opened
    assert first == second
    assert first["settings"].silent
    assert first["id"] == (tmp_path / "wandb" / "run_id").read_text(encoding="utf-8")
    told = {name: first[name] for name in ("dir", "project", "name", "mode", "config")}
    assert told == {
        "dir": tmp_path,
        "project": PROJECT,
        "name": "a training",
        "mode": "offline",
        "config": SETTINGS,
    }
    assert wandb.finished == 2
    assert (step_scalars(step_row(30, 0.5)), 30) in wandb.logged
    assert (epoch_scalars(epoch_row(3)), 30) in wandb.logged


def test_a_training_that_begins_again_is_another_run(wandb: FakeWandB, tmp_path: Path) -> None:
    for _ in range(2):
        TRACKERS["wandb"](tmp_path, "a training", {}, 0)
    assert len({how["id"] for how in wandb.opened}) == 2


@pytest.mark.parametrize("variable", WANDB_VARIABLES[:3])
def test_wandb_keeps_to_its_own_variables(
    wandb: FakeWandB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "something")
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    TRACKERS["wandb"](tmp_path, "a training", {}, 0)
    assert (wandb.opened[0]["mode"], wandb.opened[0]["project"]) == (None, "theirs")


def test_a_run_that_wandb_cannot_start_is_an_error(wandb: FakeWandB, tmp_path: Path) -> None:
    wandb.broken = True
    with pytest.raises(UserError, match="no API key configured; set WANDB_MODE=offline"):
        TRACKERS["wandb"](tmp_path, "a training", {}, 0)


def test_wandb_itself_takes_a_continued_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    for name in WANDB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    interrupted_and_continued("wandb", tmp_path)
    id = (tmp_path / "wandb" / "run_id").read_text(encoding="utf-8")
    runs = list((tmp_path / "wandb").glob("offline-run-*"))
    assert runs
    assert {run.name.rpartition("-")[2] for run in runs} == {id}, "wandb sync makes one run of all"


# --- All --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_library_that_lacks_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"pip install \"condensed-search\[{name}\]\""):
        TRACKERS[name](tmp_path, "a training", {}, 0)


def test_the_first_tracker_is_the_one_that_is_always_there() -> None:
    assert next(iter(TRACKERS)) == "tensorboard"
