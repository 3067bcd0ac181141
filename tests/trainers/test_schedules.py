"""Learning rates and drops as functions of progress: golden figures, and exact ends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec, build
from search_space.modules import (
    LearnedClassifier,
    LearnedGroupConv,
    LearnedLayer,
    SparseReactivation,
    drops_at,
)
from search_space.network import Network
from trainers.recipe import PRUNING, Recipe
from trainers.recipes import RECIPES
from trainers.schedules import SHAPES, condensing, learning_rate

FACTORS = (1, 2, 3, 4, 8)
STEPS = (1, 7, 60, 61, 999)


def rates(recipe: Recipe, epochs: Sequence[float]) -> list[float]:
    """The learning rates at the beginning of some epochs, from 0."""
    return [learning_rate(recipe, epoch / recipe.epochs_in_all) for epoch in epochs]


# --- The learning rate ------------------------------------------------------------------------


def test_the_cosine_of_condensenet() -> None:
    found = rates(RECIPES["condensenet-cifar"], [0, 75, 100, 150, 200, 225, 299])
    expected = [0.1, 0.0853553, 0.075, 0.05, 0.025, 0.0146447, 2.74154e-6]
    assert found == pytest.approx(expected, rel=1e-5)


def test_five_epochs_warm_up_in_condensenetv2() -> None:
    recipe = RECIPES["condensenetv2-imagenet"]
    found = rates(recipe, [0, 1, 2.5, 4, 5])
    assert found == pytest.approx([0.1, 0.16, 0.25, 0.34, 0.4])
    # The cosine spans what is left: its middle is halfway from epoch 5 to 350.
    assert rates(recipe, [177.5, 350]) == pytest.approx([0.2, 0.0])


def test_sparsenet_divides_by_ten_at_half_and_three_quarters() -> None:
    found = rates(RECIPES["sparsenet-cifar"], [0, 149.999, 150, 224.999, 225, 299.999])
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("updates", [5005, 7, 1])
def test_milestones_of_thirds_are_met_however_many_the_updates(updates: int) -> None:
    recipe = RECIPES["sparsenet-imagenet"]
    steps = 90 * updates
    found = [
        learning_rate(recipe, (epoch * updates + more) / steps)
        for epoch in (30, 60)
        for more in (-1, 0)
    ]
    assert found == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_shufflenetv2plus_falls_in_a_line() -> None:
    found = rates(RECIPES["shufflenetv2plus"], [0, 90, 180, 360])
    assert found == pytest.approx([0.5, 0.375, 0.25, 0])


@pytest.mark.parametrize("name", RECIPES)
def test_traditional_pruning_is_the_same_training_twice(name: str) -> None:
    once = RECIPES[name]
    twice = once.replace(pruning="traditional")
    epochs = [once.epochs * n / 32 for n in range(32)]
    first, second = rates(twice, epochs), rates(twice, [once.epochs + e for e in epochs])
    assert first == pytest.approx(rates(once, epochs))
    assert second == pytest.approx(first)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_falls_from_the_highest_and_never_rises(shape: str) -> None:
    recipe = Recipe(name=shape, epochs=3, schedule=shape, milestones=(0.2, 0.5, 0.9))
    found = [learning_rate(recipe, n / 1000) for n in range(1001)]
    assert found[0] == recipe.learning_rate
    assert found == sorted(found, reverse=True)
    assert 0 <= found[-1] < 0.01 * recipe.learning_rate


def test_a_shorter_training_has_the_same_course() -> None:
    for recipe in RECIPES.values():
        short = recipe.replace(epochs=2 * recipe.epochs)
        progress = [n / 64 for n in range(64)]
        assert [learning_rate(short, p) for p in progress] == pytest.approx(
            [learning_rate(recipe, p) for p in progress]
        )


# --- Drops ------------------------------------------------------------------------------------


def recipe_of(pruning: str) -> Recipe:
    return Recipe(name=pruning, epochs=1, pruning=pruning)


def instants(steps: int, factor: int, pruning: str = "gradual") -> list[int]:
    """The updates (from 0) before which something is dropped."""
    recipe = recipe_of(pruning)
    done = [drops_at(condensing(recipe, step / steps), factor) for step in range(steps)]
    return [n for n, (a, b) in enumerate(zip([0, *done], done, strict=False)) if b > a]


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1, []), (2, [30]), (3, [15, 30]), (4, [10, 20, 30]), (8, [5, 9, 13, 18, 22, 26, 30])],
)
def test_the_drops_of_sixty_updates(factor: int, expected: list[int]) -> None:
    assert instants(60, factor) == expected


@pytest.mark.parametrize("factor", FACTORS[1:])
def test_traditional_pruning_drops_once_at_half_time(factor: int) -> None:
    assert instants(60, factor, "traditional") == [30]
    assert condensing(recipe_of("traditional"), 0.499) == 0
    assert condensing(recipe_of("traditional"), 0.5) == 1


@pytest.mark.parametrize("pruning", PRUNING)
@pytest.mark.parametrize("factor", FACTORS[1:])
def test_no_number_of_updates_misses_the_last_drop(factor: int, pruning: str) -> None:
    for steps in (*range(2, 200), 999, 1001, 117_301):
        last = condensing(recipe_of(pruning), math.ceil(steps / 2) / steps)
        assert drops_at(last, factor) == factor - 1


def condensable(lgc: int, sfr: int, classifier: int) -> NetworkSpec:
    """A network whose layers have 17 to 33 candidates, which few of the factors divide."""
    stage = DenseStage(
        depth=2,
        growth_rate=8,
        groups_1x1=4,
        condense_factor=lgc,
        sfr="all",
        sfr_groups=2,
        sparse_factor=sfr,
    )
    head = HeadSpec(condense_factor=classifier)
    return NetworkSpec(
        image_size=8, classes=3, stem=StemSpec(channels=17), stages=(stage,), head=head
    )


@pytest.mark.parametrize("pruning", PRUNING)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("place", range(len(FACTORS)))
def test_what_is_kept_is_exact(place: int, steps: int, pruning: str) -> None:
    # Each kind of layer has each factor once, and never that of another kind.
    lgc, sfr, classifier = (FACTORS[(place + i) % len(FACTORS)] for i in range(3))
    network = build(
        condensable(lgc, sfr, classifier), generator=torch.Generator().manual_seed(place)
    )
    factors = {LearnedGroupConv: lgc, SparseReactivation: sfr, LearnedClassifier: classifier}
    layers = network.learned_layers.values()
    assert {type(layer) for layer in layers} == {k for k, f in factors.items() if f > 1}
    history = run(network, recipe_of(pruning), steps)
    network.condense_for_conversion()
    for layer in layers:
        factor, candidates = factors[type(layer)], layer.mask.shape[1]
        assert layer.mask.sum(1).tolist() == [candidates // factor] * len(layer.mask)
        assert layer.is_condensed
        assert history[layer] == instants(steps, factor, pruning)
    assert network.to_inference().form == "condensed"


def run(network: Network, recipe: Recipe, steps: int) -> dict[LearnedLayer, list[int]]:
    """Tells the network of all updates; returns before which each layer dropped something."""
    layers = network.learned_layers.values()
    history: dict[LearnedLayer, list[int]] = {layer: [] for layer in layers}
    kept = {layer: layer.mask.clone() for layer in layers}
    for step in range(steps):
        network.condense(condensing(recipe, step / steps))
        for layer in layers:
            if not torch.equal(layer.mask, kept[layer]):
                assert not (layer.mask & ~kept[layer]).any(), "something came back"
                history[layer].append(step)
                kept[layer] = layer.mask.clone()
    return history


def test_a_classifier_condensed_at_conversion_waits_for_the_end() -> None:
    spec = condensable(2, 3, 4)
    head = HeadSpec(condense_factor=4, condense_at="conversion")
    network = build(spec.replace(head=head))
    history = run(network, recipe_of("gradual"), 60)
    (classifier,) = (m for m in network.modules() if isinstance(m, LearnedClassifier))
    assert history.pop(classifier) == []
    assert all(history.values())
    assert bool(classifier.mask.all())
    network.condense_for_conversion()
    assert classifier.is_condensed
