"""Updates of a detector: what they change, what they leave, and how they are taken up again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from results.trial import StepRow
from search_space import NetworkSpec
from search_space.network import Network
from trainers.detection.coco import CocoPart, load_coco
from trainers.detection.detector import FRAMEWORKS, DetectorConfig
from trainers.detection.schedule import DetectionRecipe
from trainers.detection.training import DetectionEpoch, DetectionTraining
from trainers.evaluate import norms_of
from trainers.training import TrainingFailed


@pytest.fixture
def begin(spec: NetworkSpec, shapes: Path, fabric: Fabric) -> Any:
    """Makes a training of two epochs of three updates, two images each."""
    parts = [load_coco(shapes, part) for part in ("train2017", "val2017")]

    def make(
        framework: str = "retinanet",
        trained: Network | None = None,
        train: CocoPart | None = None,
        rate: float = 0.01,
        accumulate: int = 1,
        batch_size: int = 2,
    ) -> DetectionTraining:
        config = DetectorConfig(
            framework=framework,
            categories=3,
            short_side=64,
            long_side=64,
            fpn_channels=8,
            box_samples=16,
            trained=trained is not None,
        )
        return DetectionTraining(
            spec,
            config,
            DetectionRecipe(epochs=2, batch_size=batch_size, learning_rate=rate),
            trained,
            train or parts[0],
            parts[1],
            seed=0,
            fabric=fabric,
            accumulate=accumulate,
        )

    return make


def rows_of(training: DetectionTraining) -> list[StepRow | DetectionEpoch]:
    return [row for rows in training.updates() for row in rows]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_training_has_rows_for_updates_and_epochs(framework: str, begin: Any) -> None:
    training = begin(framework)
    rows = rows_of(training)
    assert [row.step for row in rows if isinstance(row, StepRow)] == [1, 2, 3, 4, 5, 6]
    epochs = [row for row in rows if isinstance(row, DetectionEpoch)]
    assert [row.step for row in epochs] == [3, 6]
    assert training.epoch_rows == epochs
    mean = sum(row.loss for row in training.step_rows[:3]) / 3
    assert epochs[0].train_loss == pytest.approx(mean)
    assert 0 <= (epochs[0].mean_ap or 0) <= 1


def test_masks_stay_and_what_they_dropped_stays_zero(begin: Any, trained: Network) -> None:
    training = begin(trained=trained)
    before = {name: layer.weight.clone() for name, layer in training.network.learned_layers.items()}
    statistics = [norm.running_var.clone() for norm in norms_of(training.network)]
    rows_of(training)
    for name, layer in training.network.learned_layers.items():
        assert torch.equal(layer.mask, trained.learned_layers[name].mask)
        kept = layer.expanded_mask().expand_as(layer.weight).bool()
        assert bool((layer.weight[~kept] == 0).all())
        assert not torch.equal(layer.weight[kept], before[name][kept]), "the others learn"
    for norm, variance in zip(norms_of(training.network), statistics, strict=True):
        assert torch.equal(norm.running_var, variance)
    assert {row.density for row in training.step_rows} == {0.5}


def test_condensed_weights_learn_as_the_masked_ones_do(begin: Any, trained: Network) -> None:
    masked, condensed = begin(trained=trained), begin(trained=trained.to_inference())
    assert condensed.network.form == "condensed"
    for one, other in zip(rows_of(masked), rows_of(condensed), strict=True):
        if isinstance(one, StepRow) and isinstance(other, StepRow):
            assert other.loss == pytest.approx(one.loss, rel=1e-3)
    assert condensed.finish().backbone.body.form == "condensed"


def test_an_untrained_network_condenses_as_it_learns(begin: Any) -> None:
    training = begin()
    rows_of(training)
    densities = [row.density for row in training.step_rows]
    assert densities[0] == 1.0
    assert densities[-1] == 0.5
    assert densities == sorted(densities, reverse=True)
    assert training.finish().backbone.body.form == "condensed"


def test_a_training_that_is_taken_up_again_goes_on_to_the_bit(begin: Any, trained: Network) -> None:
    whole = begin("fasterrcnn", trained)
    rows_of(whole)
    first = begin("fasterrcnn", trained)
    for _ in first.updates():
        if first.step == 2:
            break
    second = begin("fasterrcnn", trained)
    second.load_state(first.state())
    rows_of(second)
    for name, tensor in whole.detector.state_dict().items():
        assert torch.equal(second.detector.state_dict()[name], tensor), name
    assert second.step_rows == whole.step_rows
    assert [dataclasses.replace(row, wall_s=0, images_per_s=0) for row in second.epoch_rows] == [
        dataclasses.replace(row, wall_s=0, images_per_s=0) for row in whole.epoch_rows
    ]


def test_shards_add_up_to_their_batch(begin: Any, trained: Network) -> None:
    # RetinaNet draws nothing, and fixed norms do not see the batch.
    whole, shards = (begin(trained=trained, batch_size=4, accumulate=n) for n in (1, 2))
    next(whole.updates())
    next(shards.updates())
    one, other = whole.step_rows[0].loss, shards.step_rows[0].loss
    assert other == pytest.approx(one, rel=0.5), "each shard divides by its own objects"
    assert whole.step == shards.step == 1


def test_a_loss_that_is_no_number_ends_the_training(begin: Any) -> None:
    training = begin(rate=1e20)
    with pytest.raises(TrainingFailed, match=r"the loss became (nan|inf) \(.*in update \d of 6"):
        rows_of(training)
