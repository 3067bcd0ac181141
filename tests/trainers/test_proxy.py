"""A short training: what it may use, what it must leave condensed, how it fails."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor

from results.trial import Measured, Score
from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec
from search_space.network import Network
from trainers import proxy, training
from trainers.data import DataSplits, load_data
from trainers.proxy import train_proxy
from trainers.recipe import Recipe
from trainers.training import TrainingFailed

QUICK = Recipe(name="quick", epochs=1, batch_size=32, recalibration_batches=8)


class Untouchable:
    """Fails the test that looks at it."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"`test.{name}` was read")

    def __len__(self) -> int:
        raise AssertionError("the length of `test` was taken")


@pytest.fixture
def score(network: NetworkSpec, few: DataSplits, fabric: Fabric) -> Callable[..., Score]:
    """Scores a network on the digits."""

    def train(
        recipe: Recipe = QUICK,
        spec: NetworkSpec = network,
        data: DataSplits = few,
        seed: int = 0,
        resolution: int = 8,
        **more: Any,
    ) -> Score:
        settings = {"seed": seed, "resolution": resolution, "fabric": fabric, **more}
        return train_proxy(spec, data, recipe, **settings)

    return train


def result(score: Score) -> tuple[float, float]:
    """What training showed, without how long it took."""
    return score.accuracy, score.loss


# --- The training -----------------------------------------------------------------------------


def test_a_short_training_is_far_better_than_chance(
    score: Callable[..., Score], digits: DataSplits
) -> None:
    found = score(QUICK.replace(epochs=2), data=digits)
    assert found.accuracy > 0.25, "chance is a tenth"
    assert found.loss < math.log(10)
    assert found.wall_s > 0


@pytest.mark.parametrize(("pruning", "epochs"), [("gradual", 1), ("traditional", 2)])
def test_epochs_are_those_that_were_trained(
    score: Callable[..., Score], pruning: str, epochs: int
) -> None:
    steps: list[int] = []
    found = score(QUICK.replace(pruning=pruning), on_step=lambda step, _: steps.append(step))
    assert found.epochs == epochs
    assert len(steps) == 3 * epochs


def test_another_resolution_is_trained_at_too(score: Callable[..., Score]) -> None:
    data = load_data("digits", resolution=16)
    small = dataclasses.replace(data, train=data.train.select(torch.arange(64)))
    assert 0 <= score(data=small, resolution=16).accuracy <= 1


def test_the_seed_alone_determines_the_score(score: Callable[..., Score]) -> None:
    recipe = QUICK.replace(dropout=0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = score(recipe, seed=3)
        torch.manual_seed(2)
        again = score(recipe, seed=3)
    assert result(again) == result(first)
    assert score(recipe, seed=4).loss != first.loss


def test_the_cpu_is_used_where_nothing_is_said(score: Callable[..., Score]) -> None:
    assert result(score(fabric=None)) == result(score())


def test_the_test_images_are_not_looked_at(score: Callable[..., Score], few: DataSplits) -> None:
    blind = dataclasses.replace(few, load_test=cast(Any, Untouchable()))
    assert result(score(data=blind)) == result(score())


def test_validation_images_are_looked_at_once_and_condensed(
    score: Callable[..., Score], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "evaluate", Untouchable())
    seen: list[Network] = []
    evaluate = proxy.evaluate

    def watched(network: Network, *rest: Any) -> Measured:
        seen.append(network)
        return evaluate(network, *rest)

    monkeypatch.setattr(proxy, "evaluate", watched)
    score()
    (network,) = seen
    assert network.form == "condensed"
    assert not network.training
    assert not network.learned_layers


def test_each_update_is_told(score: Callable[..., Score]) -> None:
    told: list[tuple[int, int]] = []
    recipe = QUICK.replace(epochs=2, batch_size=40)
    score(recipe, on_step=lambda *step: told.append(step))
    assert told == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("batch_size", [96, 48])
def test_however_few_the_updates_everything_is_condensed(
    score: Callable[..., Score], batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    steps: list[int] = []
    recalibrate = training.recalibrate

    def watched(network: Network, *rest: Any, **more: Any) -> None:
        learned = network.learned_layers
        assert all(layer.is_condensed for layer in learned.values())
        counted.append(len(learned))
        recalibrate(network, *rest, **more)

    monkeypatch.setattr(training, "recalibrate", watched)
    score(QUICK.replace(batch_size=batch_size), on_step=lambda step, _: steps.append(step))
    assert len(steps) == 96 // batch_size
    # Per stage two 1x1 convolutions and two reactivations, and the classifier.
    assert counted == [9]


@pytest.mark.parametrize(
    ("when", "recipe_says"), [("conversion", "spec"), ("training", "conversion")]
)
def test_a_classifier_that_is_condensed_at_conversion_is_scored_condensed(
    score: Callable[..., Score],
    network: NetworkSpec,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    recipe_says: str,
) -> None:
    converted: list[Network] = []
    to_inference = Network.to_inference

    def watched(self: Network) -> Network:
        converted.append(to_inference(self))
        return converted[-1]

    monkeypatch.setattr(Network, "to_inference", watched)
    head = dataclasses.replace(network.head, condense_factor=2, condense_at=when)
    score(QUICK.replace(condense_classifier=recipe_says), network.replace(head=head))
    (condensed,) = converted
    assert condensed.spec.head.condense_at == "conversion"
    classifier = condensed.steps["head"].get_submodule("classifier")
    index = condensed.steps["head"].get_submodule("classifier_gather").get_buffer("index")
    assert classifier.get_parameter("weight").shape[1] == len(index) == len(index.unique()) > 0


def test_a_head_that_condenses_is_trained_too(score: Callable[..., Score]) -> None:
    wide = NetworkSpec(
        image_size=8,
        classes=10,
        stem=StemSpec(channels=8),
        stages=(DenseStage(depth=1, growth_rate=4),),
        head=HeadSpec(features=16, se_reduction=4, condense_factor=4),
    )
    assert 0 <= score(spec=wide).accuracy <= 1


# --- How it fails -----------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_the_training(score: Callable[..., Score]) -> None:
    with pytest.raises(TrainingFailed, match=r"^the loss became (nan|inf) by update \d+ of 12$"):
        score(QUICK.replace(learning_rate=1e12, batch_size=8))


def test_a_validation_loss_that_is_not_finite_is_no_score(
    score: Callable[..., Score], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Measured(top1=0.1, top5=0.5, loss=math.nan, images=60)
    monkeypatch.setattr(proxy, "evaluate", lambda *_: measured)
    with pytest.raises(TrainingFailed, match=r"^the validation loss is nan$"):
        score()


def test_a_conversion_that_changes_the_outputs_is_no_score(
    score: Callable[..., Score], monkeypatch: pytest.MonkeyPatch
) -> None:
    to_inference = Network.to_inference

    def wrong(self: Network) -> Network:
        network = to_inference(self)
        with torch.no_grad():
            next(network.parameters()).mul_(1.1)
        return network

    monkeypatch.setattr(Network, "to_inference", wrong)
    with pytest.raises(RuntimeError, match="differs from the masked one"):
        score()


def _no_room(*_: Any, **__: Any) -> Tensor:
    raise MemoryError("no room")


def _no_room_on_the_gpu(*_: Any, **__: Any) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


def _no_room_on_the_cpu(*_: Any, **__: Any) -> Tensor:
    return torch.empty(2**55)


@pytest.mark.parametrize("exhaust", [_no_room, _no_room_on_the_gpu, _no_room_on_the_cpu])
def test_memory_that_does_not_suffice_fails_one_candidate(
    score: Callable[..., Score],
    monkeypatch: pytest.MonkeyPatch,
    exhaust: Callable[..., Tensor],
) -> None:
    monkeypatch.setattr(F, "cross_entropy", exhaust)
    with pytest.raises(TrainingFailed, match=r"^out of memory: "):
        score()


def test_our_own_mistakes_are_not_the_candidates(
    score: Callable[..., Score], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: Any, **__: Any) -> Tensor:
        return torch.ones(2) @ torch.ones(3)

    monkeypatch.setattr(F, "cross_entropy", mistaken)
    with pytest.raises(RuntimeError, match="size") as caught:
        score()
    assert not isinstance(caught.value, TrainingFailed)
