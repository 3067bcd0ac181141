"""A short training: what it may use, what it must leave condensed, how it fails."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from results.trial import Score
from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec, UserError
from search_space.network import Network
from trainers import proxy
from trainers.data import DataSplits, MemoryPart, Part, load_data
from trainers.order import epoch_order
from trainers.proxy import (
    RECALIBRATION_BATCHES,
    TrainConfig,
    TrainingFailed,
    cosine,
    evaluate,
    proxy_spec,
    recalibrate,
    train_proxy,
)

QUICK = TrainConfig(epochs=1, batch_size=32, resolution=8)


class Untouchable:
    """Fails the test that looks at it."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"`test.{name}` was read")

    def __len__(self) -> int:
        raise AssertionError("the length of `test` was taken")


def result(score: Score) -> tuple[float, float]:
    """What training showed, without how long it took."""
    return score.accuracy, score.loss


# --- The training -----------------------------------------------------------------------------


def test_a_short_training_is_far_better_than_chance(
    network: NetworkSpec, digits: DataSplits
) -> None:
    config = TrainConfig(epochs=2, batch_size=32, resolution=8)
    score = train_proxy(network, digits, config, seed=0)
    assert score.accuracy > 0.25, "chance is a tenth"
    assert score.loss < math.log(10)
    assert score.epochs == 2
    assert score.wall_s > 0


def test_another_resolution_is_trained_at_too(network: NetworkSpec) -> None:
    data = load_data("digits", resolution=16)
    small = dataclasses.replace(
        data,
        train=data.train.select(torch.arange(64)),
    )
    config = TrainConfig(epochs=1, batch_size=32, resolution=16)
    assert 0 <= train_proxy(network, small, config, seed=0).accuracy <= 1


def test_the_seed_alone_determines_the_score(network: NetworkSpec, few: DataSplits) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = train_proxy(network, few, QUICK, seed=3)
        torch.manual_seed(2)
        again = train_proxy(network, few, QUICK, seed=3)
    assert result(again) == result(first)
    assert train_proxy(network, few, QUICK, seed=4).loss != first.loss


def test_the_test_images_are_not_looked_at(network: NetworkSpec, few: DataSplits) -> None:
    blind = dataclasses.replace(few, load_test=cast(Any, Untouchable()))
    score = train_proxy(network, blind, QUICK, seed=0)
    assert result(score) == result(train_proxy(network, few, QUICK, seed=0))


def test_each_iteration_is_told(network: NetworkSpec, few: DataSplits) -> None:
    config = dataclasses.replace(QUICK, epochs=2, batch_size=40)
    told: list[tuple[int, int]] = []
    train_proxy(network, few, config, seed=0, on_step=lambda *step: told.append(step))
    assert told == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("batch_size", [96, 48])
def test_however_few_the_iterations_everything_is_condensed(
    network: NetworkSpec, few: DataSplits, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Network] = {}
    steps: list[int] = []

    def watch(name: str) -> None:
        original: Callable[..., Any] = getattr(proxy, name)

        def watched(module: Network, *rest: Any) -> Any:
            seen[name] = module
            if name == "recalibrate":
                assert all(layer.is_condensed for layer in module.learned_layers.values())
            return original(module, *rest)

        monkeypatch.setattr(proxy, name, watched)

    watch("recalibrate")
    watch("evaluate")
    config = dataclasses.replace(QUICK, batch_size=batch_size)
    train_proxy(network, few, config, seed=0, on_step=lambda step, _: steps.append(step))
    assert len(steps) == 96 // batch_size
    learned = seen["recalibrate"].learned_layers
    # Per stage two 1x1 convolutions and two reactivations, and the classifier.
    assert len(learned) == 9
    assert seen["evaluate"].form == "condensed"
    assert not seen["evaluate"].training
    assert not seen["evaluate"].learned_layers


def test_condensing_follows_the_iterations(
    network: NetworkSpec, few: DataSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress: list[float] = []
    condense = Network.condense

    def watched(self: Network, at: float) -> None:
        progress.append(at)
        condense(self, at)

    monkeypatch.setattr(Network, "condense", watched)
    train_proxy(network, few, dataclasses.replace(QUICK, batch_size=24), seed=0)
    assert progress == [0, 0.25, 0.5, 0.75, 1]


def test_a_classifier_that_is_condensed_at_conversion_is_scored_condensed(
    network: NetworkSpec, few: DataSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[Network] = []
    to_inference = Network.to_inference

    def watched(self: Network) -> Network:
        converted.append(to_inference(self))
        return converted[-1]

    monkeypatch.setattr(Network, "to_inference", watched)
    head = dataclasses.replace(network.head, condense_factor=2, condense_at="conversion")
    train_proxy(network.replace(head=head), few, QUICK, seed=0)
    (condensed,) = converted
    classifier = condensed.steps["head"].get_submodule("classifier")
    gather = condensed.steps["head"].get_submodule("classifier_gather")
    assert classifier.get_parameter("weight").shape[1] == len(gather.get_buffer("index"))
    assert len(gather.get_buffer("index").unique()) == len(gather.get_buffer("index")) > 0


def test_the_learning_rate_falls_as_a_cosine(
    network: NetworkSpec, few: DataSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *args: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    config = dataclasses.replace(QUICK, batch_size=48, epochs=2, learning_rate=0.2)
    train_proxy(network, few, config, seed=0)
    assert rates == pytest.approx([0.2 * cosine(n, 4) for n in range(4)])


def test_a_loss_that_is_not_finite_ends_the_training(network: NetworkSpec, few: DataSplits) -> None:
    config = dataclasses.replace(QUICK, learning_rate=1e12, batch_size=8)
    with pytest.raises(TrainingFailed, match=r"^the loss became (nan|inf) at iteration \d+ of 12$"):
        train_proxy(network, few, config, seed=0)


def test_a_validation_loss_that_is_not_finite_is_no_score(
    network: NetworkSpec, few: DataSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "evaluate", lambda *_: (0.1, math.nan))
    with pytest.raises(TrainingFailed, match=r"^the validation loss is nan$"):
        train_proxy(network, few, QUICK, seed=0)


def _no_room(*_: Any) -> Tensor:
    raise MemoryError("no room")


def _no_room_on_the_cpu(*_: Any) -> Tensor:
    return torch.empty(2**55)


@pytest.mark.parametrize(
    "exhaust",
    [
        _no_room,
        _no_room_on_the_cpu,
    ],
)
def test_memory_that_does_not_suffice_fails_one_candidate(
    network: NetworkSpec,
    few: DataSplits,
    monkeypatch: pytest.MonkeyPatch,
    exhaust: Callable[..., Tensor],
) -> None:
    monkeypatch.setattr(F, "cross_entropy", exhaust)
    with pytest.raises(TrainingFailed, match="out of memory"):
        train_proxy(network, few, QUICK, seed=0)


def test_a_last_batch_of_one_image_can_be_trained_on(few: DataSplits) -> None:
    # Four stages leave 1 x 1 pixels of the 8 x 8; 96 images are one more than 5 batches of 19.
    stage = DenseStage(depth=1, growth_rate=4)
    deep = NetworkSpec(image_size=8, classes=10, stem=StemSpec(channels=8), stages=(stage,) * 4)
    config = dataclasses.replace(QUICK, batch_size=19)
    assert 0 <= train_proxy(deep, few, config, seed=0).accuracy <= 1


# --- Its parts --------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 10, 1000])
def test_the_cosine_starts_at_one_and_is_half_in_the_middle(steps: int) -> None:
    assert cosine(0, steps) == 1
    assert cosine(steps // 2, steps) == pytest.approx(0.5)
    assert cosine(steps, steps) == pytest.approx(0)
    values = [cosine(n, steps) for n in range(steps + 1)]
    assert values == sorted(values, reverse=True)


def test_the_proxy_changes_size_and_classes_only(network: NetworkSpec, digits: DataSplits) -> None:
    spec = proxy_spec(network, digits, 16)
    assert (spec.image_size, spec.classes) == (16, 10)
    assert spec.replace(image_size=network.image_size, classes=network.classes) == network
    assert spec.stages == network.stages


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("resolution", -1),
        ("learning_rate", 0.0),
        ("learning_rate", -0.1),
        ("learning_rate", math.inf),
        ("learning_rate", math.nan),
    ],
)
def test_a_setting_out_of_its_range_is_named(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^`{name}` \(={value}\) must be"):
        TrainConfig(**{name: value})


def test_the_smallest_settings_are_accepted() -> None:
    config = TrainConfig(epochs=1, batch_size=2, resolution=1, learning_rate=1e-9)
    assert (config.epochs, config.batch_size, config.resolution) == (1, 2, 1)


@pytest.fixture
def counted() -> Part:
    """Twelve images of 4 x 4; pixel values differ between images and channels."""
    generator = torch.Generator().manual_seed(0)
    return MemoryPart(
        images=torch.randint(0, 256, (12, 3, 4, 4), generator=generator).to(torch.uint8),
        labels=torch.arange(12) % 3,
        mean=torch.full((3, 1, 1), 100.0),
        std=torch.full((3, 1, 1), 50.0),
        augmentable=False,
    )


def test_recalibrated_statistics_are_means_over_the_batches(counted: Part) -> None:
    norm = nn.BatchNorm2d(3, momentum=0.3)
    with torch.no_grad():
        norm.running_mean.fill_(9.0)
        norm.running_var.fill_(9.0)
        norm.num_batches_tracked.fill_(5)
    recalibrate(nn.Sequential(norm), counted, 6)
    pixels = (counted.images.float() - 100) / 50
    order = epoch_order(12, 6, shards=1, seed=0, epoch=0)
    halves = [pixels[indices] for (indices,) in order]
    means = torch.stack([half.mean((0, 2, 3)) for half in halves]).mean(0)
    variances = torch.stack([half.var((0, 2, 3)) for half in halves]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert norm.momentum == 0.3


def test_recalibrating_takes_a_few_batches_and_no_gradient(counted: Part) -> None:
    norm = nn.BatchNorm2d(3)
    weight = norm.weight.clone()
    recalibrate(nn.Sequential(norm), counted.select(torch.arange(24) % 12), 2)
    assert int(norm.num_batches_tracked or 0) == RECALIBRATION_BATCHES == 8
    assert torch.equal(norm.weight, weight)
    assert norm.weight.grad is None


def test_recalibrating_sees_every_class_of_a_folder(
    write_tree: Callable[..., Path],
) -> None:
    write_tree({"train/dark": 100, "val/dark": 1}, high=50, size=(4, 4))
    root = write_tree({"train/light": 100, "val/light": 1}, low=200, size=(4, 4))
    data = load_data(f"folder:{root}", resolution=4)
    norm = nn.BatchNorm2d(3)
    recalibrate(nn.Sequential(norm), data.train, 8)
    assert norm.running_mean is not None
    # Normalised, the dark class alone has mean -1, the light one 1, both together 0.
    assert norm.running_mean.abs().max() < 0.5


class Reading(nn.Module):
    """Its logits are the first pixels of the three channels."""

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        return images[:, :, 0, 0]


def test_accuracy_and_loss_are_means_over_images_not_batches(counted: Part) -> None:
    logits = (counted.images[:, :, 0, 0].float() - 100) / 50
    probability = logits.softmax(1)[torch.arange(12), counted.labels]
    accuracy, loss = evaluate(Reading().train(), counted, 5)
    assert accuracy == int((logits.argmax(1) == counted.labels).sum()) / 12
    assert loss == pytest.approx(float(-probability.log().mean()), rel=1e-5)


def test_evaluating_changes_no_statistics(counted: Part) -> None:
    norm = nn.BatchNorm2d(3)
    evaluate(nn.Sequential(norm, Reading()), counted, 5)
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert int(norm.num_batches_tracked or 0) == 0


def test_a_head_that_condenses_is_trained_too(few: DataSplits) -> None:
    stage = DenseStage(depth=1, growth_rate=4)
    wide = NetworkSpec(
        image_size=8,
        classes=10,
        stem=StemSpec(channels=8),
        stages=(stage,),
        head=HeadSpec(features=16, se_reduction=4, condense_factor=4),
    )
    assert 0 <= train_proxy(wide, few, QUICK, seed=0).accuracy <= 1
