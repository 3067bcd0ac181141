"""Figures over images, and statistics of norms over batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from search_space import NetworkSpec, build
from trainers.data import DataSplits, MemoryPart, Part, load_data
from trainers.evaluate import average_statistics, evaluate, evaluation_mode, norms_of, recalibrate
from trainers.order import epoch_order
from trainers.recipe import Recipe
from trainers.regularise import add_dropout


@pytest.fixture
def counted() -> MemoryPart:
    """Twelve images of 4 x 4; pixel values differ between images and channels."""
    generator = torch.Generator().manual_seed(0)
    return MemoryPart(
        images=torch.randint(0, 256, (12, 3, 4, 4), generator=generator).to(torch.uint8),
        labels=torch.arange(12) % 3,
        mean=torch.full((3, 1, 1), 100.0),
        std=torch.full((3, 1, 1), 50.0),
        augmentable=False,
    )


class Reading(nn.Module):
    """Its logits are the first pixels of the three channels."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, 0, 0]


# --- Figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_figures_are_means_over_images_not_batches(counted: MemoryPart, batch_size: int) -> None:
    logits = (counted.images[:, :, 0, 0].float() - 100) / 50
    probability = logits.softmax(1)[torch.arange(12), counted.labels]
    measured = evaluate(Reading(), counted, batch_size)
    assert measured.top1 == int((logits.argmax(1) == counted.labels).sum()) / 12
    assert measured.loss == pytest.approx(float(-probability.log().mean()), rel=1e-5)
    assert measured.images == 12


def test_fewer_than_five_classes_are_all_among_the_first_five(counted: MemoryPart) -> None:
    measured = evaluate(Reading(), counted, 5)
    assert measured.top5 == 1.0
    assert measured.top1 < 1.0


def test_the_first_five_of_seven_classes(counted: MemoryPart) -> None:
    # The classes 0, 1 and 2 of the images come at place 1, 5 and 6.
    ranked = torch.tensor([9.0, 5.0, 4.0, 8.0, 7.0, 6.0, 3.0])
    measured = evaluate(lambda images: ranked.expand(len(images), 7), counted, 5)
    assert (measured.top1, measured.top5) == (4 / 12, 8 / 12)
    losses = F.cross_entropy(ranked.expand(3, 7), torch.arange(3))
    assert measured.loss == pytest.approx(float(losses))


def test_logits_of_half_precision_are_measured_in_full(counted: MemoryPart) -> None:
    half = evaluate(lambda images: Reading()(images).bfloat16(), counted, 5)
    rounded = (counted.images[:, :, 0, 0].float() - 100).div(50).bfloat16().float()
    assert half.loss == pytest.approx(float(F.cross_entropy(rounded, counted.labels)))


class Pair:
    """One of two processes that wait for nothing: sums are its own."""

    world_size = 2
    device = torch.device("cpu")

    def __init__(self, rank: int) -> None:
        self.global_rank = rank

    def to_device(self, images: Tensor) -> Tensor:
        return images

    def all_reduce(self, tensor: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "sum"
        return tensor


def test_processes_share_the_images(counted: MemoryPart) -> None:
    seen: list[Tensor] = []

    def reading(images: Tensor) -> Tensor:
        seen.append(images)
        return Reading()(images)

    shares = [
        evaluate(reading, counted, 5, fabric=cast(Fabric, Pair(rank))).images for rank in (0, 1)
    ]
    assert shares == [5 + 2, 5]
    ((images, _),) = counted.load([torch.arange(12)])
    batches = torch.split(images, 5)
    assert torch.equal(torch.cat(seen), torch.cat([batches[0], batches[2], batches[1]]))


def test_evaluating_drops_no_candidates_and_counts_no_statistics(
    small: NetworkSpec, few: DataSplits
) -> None:
    network = build(small, generator=torch.Generator().manual_seed(0))
    network.condense(0.25)
    before = copy.deepcopy(network.state_dict())
    assert few.validation is not None
    with evaluation_mode(network):
        evaluate(network, few.validation, 32)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_is_for_a_while(training: bool) -> None:
    network = nn.Sequential(nn.BatchNorm2d(3)).train(training)
    with evaluation_mode(network):
        assert not network.training
        assert not network[0].training
    assert network.training == network[0].training == training
    with pytest.raises(ZeroDivisionError), evaluation_mode(network):
        raise ZeroDivisionError
    assert network.training == training


# --- Statistics of norms ----------------------------------------------------------------------


def test_recalibrated_statistics_are_means_over_the_batches(counted: MemoryPart) -> None:
    norm = nn.BatchNorm2d(3, momentum=0.3)
    with torch.no_grad():
        norm.running_mean.fill_(9.0)
        norm.running_var.fill_(9.0)
        norm.num_batches_tracked.fill_(5)
    recalibrate(nn.Sequential(norm), counted, 6, batches=8)
    pixels = (counted.images.float() - 100) / 50
    order = epoch_order(12, 6, shards=1, seed=0, epoch=0)
    halves = [pixels[indices] for (indices,) in order]
    means = torch.stack([half.mean((0, 2, 3)) for half in halves]).mean(0)
    variances = torch.stack([half.var((0, 2, 3)) for half in halves]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert norm.momentum == 0.3
    assert not norm.training


@pytest.mark.parametrize("batches", [1, 8])
def test_recalibrating_takes_a_few_batches_and_no_gradient(
    counted: MemoryPart, batches: int
) -> None:
    norm = nn.BatchNorm2d(3)
    weight = norm.weight.clone()
    recalibrate(nn.Sequential(norm), counted.select(torch.arange(24) % 12), 2, batches=batches)
    assert int(norm.num_batches_tracked) == batches
    assert torch.equal(norm.weight, weight)
    assert norm.weight.grad is None


def test_recalibrating_sees_every_class_of_a_folder(write_tree: Callable[..., Path]) -> None:
    write_tree({"train/dark": 100, "val/dark": 1}, high=50, size=(4, 4))
    root = write_tree({"train/light": 100, "val/light": 1}, low=200, size=(4, 4))
    data = load_data(f"folder:{root}", resolution=4)
    norm = nn.BatchNorm2d(3)
    recalibrate(nn.Sequential(norm), data.train, 8, batches=8)
    # Normalised, the dark class alone has mean -1, the light one 1, both together 0.
    assert norm.running_mean.abs().max() < 0.5


def test_augmented_images_are_what_is_counted(counted: MemoryPart) -> None:
    part = MemoryPart(**{**vars(counted), "augmentable": True})
    found: list[Tensor] = []
    for augment in ("none", "crop-flip", "crop-flip"):
        norm = nn.BatchNorm2d(3)
        recalibrate(nn.Sequential(norm), part, 6, batches=2, augment=augment)
        found.append(norm.running_mean)
    assert torch.equal(found[1], found[2])
    assert not torch.equal(found[0], found[1])


def test_recalibrating_drops_nothing_out(small: NetworkSpec, few: DataSplits) -> None:
    statistics = []
    for dropout in (0.0, 0.5):
        network = build(small, generator=torch.Generator().manual_seed(0))
        add_dropout(network, Recipe(name="x", epochs=1, dropout=dropout))
        recalibrate(network, few.train, 32, batches=2)
        assert not any(module.training for module in network.modules())
        statistics.append([norm.running_var for norm in norms_of(network)])
    assert all(map(torch.equal, *statistics))


def test_one_process_has_its_own_statistics(fabric: Fabric, counted: Part) -> None:
    norm = nn.BatchNorm2d(3)
    recalibrate(nn.Sequential(norm), counted, 6, batches=2)
    before = norm.running_mean.clone()
    average_statistics(nn.Sequential(norm), fabric)
    assert torch.equal(norm.running_mean, before)
