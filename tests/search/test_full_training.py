"""One training as a value, from its beginning to its folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from results.trial import EpochRow
from search.full_training import FullTraining, train
from search.trained_folder import Busy, locked
from search_space import NetworkSpec, UserError
from search_space.errors import Mismatch, UnknownName
from trainers.recipes import RECIPES
from trainers.training import Training


class Silent:
    """A display that counts."""

    def __init__(self) -> None:
        self.begun_at: list[int] = []
        self.updates = 0
        self.epochs: list[int] = []

    def begun(self, training: Training, note: str) -> None:
        self.begun_at.append(training.step)

    def updated(self, training: Training) -> None:
        self.updates += 1

    def epoch(self, row: EpochRow) -> None:
        self.epochs.append(row.epoch)


@pytest.fixture
def config(tiny_file: Path) -> FullTraining:
    """One epoch of nine updates."""
    return FullTraining(
        network="tiny",
        spec=NetworkSpec.load(tiny_file),
        data="digits",
        recipe=RECIPES["quick"].replace(epochs=1, batch_size=128),
        trackers=(),
    )


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"formats": ("tflite",)}, UnknownName, "unknown format 'tflite'; known: ncnn, onnx"),
        ({"trackers": ("paper",)}, UnknownName, "unknown tracker 'paper'; known: mlflow"),
        ({"seed": -1}, UserError, r"`seed` \(=-1\) must be at least 0"),
        ({"accumulate": 0}, UserError, r"`accumulate` \(=0\) must be at least 1"),
        ({"workers": -1}, UserError, r"`workers` \(=-1\) must be at least 0"),
        ({"resolution": 0}, UserError, r"`resolution` \(=0\) must be at least 1"),
        ({"resolution": 1}, UserError, "leaves 1x1 pixels before stage 2"),
    ],
)
def test_what_does_not_exist_is_told_at_once(
    changes: dict[str, object], error: type[UserError], sentence: str, config: FullTraining
) -> None:
    config.check()
    with pytest.raises(error, match=sentence):
        dataclasses.replace(config, **changes).check()  # type: ignore[arg-type]


def test_the_network_gets_the_classes_and_pixels_of_its_images(config: FullTraining) -> None:
    larger = dataclasses.replace(config, resolution=16)
    assert (config.pixels, larger.pixels) == (8, 16)
    spec = larger.spec_for(7)
    assert (spec.image_size, spec.classes) == (16, 7)
    assert spec.stages == config.spec.stages
    at_conversion = config.recipe.replace(condense_classifier="conversion")
    spec = dataclasses.replace(config, recipe=at_conversion).spec_for(10)
    assert spec.head.condense_at == "conversion"


def test_a_display_sees_every_update_and_epoch(config: FullTraining, tmp_path: Path) -> None:
    display = Silent()
    result = train(config, tmp_path / "out", display)
    assert (display.begun_at, display.updates, display.epochs) == ([0], 9, [1])
    assert (result.network, result.recipe, result.epochs) == ("tiny", "quick", 1)
    assert train(config, tmp_path / "out", display, resume=True) == result
    assert display.updates == 9


def test_a_folder_where_another_trains_is_left_alone(config: FullTraining, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(Busy):
        train(config, tmp_path, Silent(), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_loss_that_is_no_number_ends_with_advice(config: FullTraining, tmp_path: Path) -> None:
    wild = config.recipe.replace(learning_rate=1e30)
    with pytest.raises(UserError, match=r"the loss became .* by update .*; lower --lr"):
        train(dataclasses.replace(config, recipe=wild), tmp_path, Silent())
    assert not (tmp_path / "result.json").exists()


def test_a_mismatch_leaves_no_result_and_can_be_taken_up(
    config: FullTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differ(*_: object) -> None:
        raise Mismatch("the condensed form computes something else")

    with monkeypatch.context() as patch:
        patch.setattr("search.full_training.check_conversion", differ)
        with pytest.raises(Mismatch):
            train(config, tmp_path, Silent())
    assert not (tmp_path / "result.json").exists()
    assert (tmp_path / "checkpoint.pt").is_file()
    display = Silent()
    result = train(config, tmp_path, display, resume=True)
    assert (display.begun_at, display.updates) == ([9], 0)
    assert json.loads((tmp_path / "result.json").read_text()) == result.to_dict()
    assert not (tmp_path / "checkpoint.pt").exists()
