"""A training: what each update does, and that it goes on as it would have."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from results.trial import EpochRow, StepRow
from search_space import DenseStage, NetworkSpec, StemSpec
from search_space.modules import LearnedClassifier, LearnedLayer
from search_space.network import Network
from trainers import training as module
from trainers.checkpoint import load_checkpoint, save_checkpoint
from trainers.data import DataSplits
from trainers.machine import machine
from trainers.order import epoch_order
from trainers.parts import MemoryPart
from trainers.recipe import PRUNING, Recipe
from trainers.schedules import learning_rate
from trainers.training import Row, Training, TrainingFailed, training_spec

TWO_EPOCHS = Recipe(name="two epochs", epochs=2, batch_size=24)
"""Eight updates of the 96 digits."""


@pytest.fixture
def begin(small: NetworkSpec, few: DataSplits, fabric: Fabric) -> Any:
    """Makes a training of the digits."""

    def make(recipe: Recipe = TWO_EPOCHS, **settings: Any) -> Training:
        return Training(small, few, recipe, **{"seed": 0, "fabric": fabric, **settings})

    return make


def advance(training: Training, updates: int) -> list[Row]:
    """Performs a few updates only."""
    rows: list[Row] = []
    if updates:
        for found in training.updates():
            rows += found
            updates -= 1
            if not updates:
                break
    return rows


def rows_of(training: Training) -> list[Row]:
    """All rows, without how long they took."""
    timeless = [dataclasses.replace(r, wall_s=0.0, images_per_s=0.0) for r in training.epoch_rows]
    return [*training.step_rows, *timeless]


def differing(one: Network, other: Network) -> list[str]:
    """The names of tensors that are not equal bit by bit."""
    tensors = other.state_dict()
    return [n for n, tensor in one.state_dict().items() if not torch.equal(tensor, tensors[n])]


def masks_of(network: Network) -> list[Tensor]:
    return [layer.mask.clone() for layer in network.learned_layers.values()]


# --- What an update does ----------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_update_reads_the_images_of_its_own(begin: Any, accumulate: int) -> None:
    training = begin(accumulate=accumulate)
    read: list[list[Tensor]] = []
    update = training._update
    training._update = lambda shards: (
        read.append([labels for _, labels in shards]) or update(shards)
    )
    advance(training, 8)
    labels = training.train_part.labels
    expected = [
        [labels[shard] for shard in shards]
        for epoch in (0, 1)
        for shards in epoch_order(96, 24, shards=accumulate, seed=0, epoch=epoch)
    ]
    assert len(read) == len(expected) == 8
    for shards, wanted in zip(read, expected, strict=True):
        assert [s.tolist() for s in shards] == [w.tolist() for w in wanted]


def test_learning_rates_are_those_of_the_schedule(begin: Any) -> None:
    recipe = TWO_EPOCHS.replace(warmup_epochs=1, warmup_start=0.5)
    rows = [r for r in advance(begin(recipe), 8) if isinstance(r, StepRow)]
    assert [r.learning_rate for r in rows] == [learning_rate(recipe, n / 8) for n in range(8)]
    assert [r.learning_rate for r in rows][:4] == pytest.approx([0.05, 0.0625, 0.075, 0.0875])


def test_rows_tell_the_course(begin: Any, few: DataSplits) -> None:
    training = begin()
    rows = advance(training, 8)
    steps = [row for row in rows if isinstance(row, StepRow)]
    epochs = [row for row in rows if isinstance(row, EpochRow)]
    assert (steps, epochs) == (training.step_rows, training.epoch_rows)
    assert [(row.step, row.progress) for row in steps] == [(n, n / 8) for n in range(1, 9)]
    assert [(row.epoch, row.step) for row in epochs] == [(1, 4), (2, 8)]
    for epoch in epochs:
        losses = [row.loss for row in steps if epoch.step - 4 < row.step <= epoch.step]
        assert epoch.train_loss == pytest.approx(sum(losses) / 4)
        assert epoch.learning_rate == steps[epoch.step - 1].learning_rate
        assert epoch.images_per_s == pytest.approx(96 / epoch.wall_s)
        assert 0 <= epoch.val_top1 <= epoch.val_top5 <= 1
    densities = [row.density for row in steps]
    assert densities[0] == 1.0
    assert densities == sorted(densities, reverse=True)
    assert densities[-1] == training.density
    assert [epoch.density for epoch in epochs] == [densities[3], densities[7]]


def test_without_validation_images_nothing_is_validated(
    begin: Any, small: NetworkSpec, few: DataSplits, fabric: Fabric
) -> None:
    blind = dataclasses.replace(few, validation=None)
    training = Training(small, blind, TWO_EPOCHS, seed=0, fabric=fabric)
    looked = begin()
    for each in (training, looked):
        advance(each, 8)
    assert [(r.val_loss, r.val_top1, r.val_top5) for r in training.epoch_rows] == [(None,) * 3] * 2
    assert differing(training.finish(), looked.finish()) == []


def test_many_updates_share_a_row_but_for_drops(begin: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MOST_STEP_ROWS", 2)
    training = begin()
    assert training.steps_per_row == 4
    advance(training, 8)
    # Drops are due at sixths of 8 for factors of 4, at a half for the classifier's 2.
    assert [row.step for row in training.step_rows] == [3, 4, 5, 8]
    every = begin()
    monkeypatch.setattr(module, "MOST_STEP_ROWS", 2000)
    advance(every, 8)
    summed = sum(row.loss for row in every.step_rows[:3]) / 3
    assert training.step_rows[0].loss == pytest.approx(summed)
    assert training.epoch_rows[1].train_top1 == every.epoch_rows[1].train_top1


def test_a_loss_that_is_not_finite_ends_the_training(begin: Any) -> None:
    training = begin(TWO_EPOCHS.replace(learning_rate=1e12, batch_size=8))
    with pytest.raises(TrainingFailed, match=r"^the loss became (nan|inf) by update \d+ of 24$"):
        advance(training, 24)


def test_the_penalty_is_part_of_the_gradient(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        LearnedLayer, "group_lasso", lambda layer: layer.weight.abs().sum(), raising=False
    )
    plain, penalised = begin(), begin(TWO_EPOCHS.replace(group_lasso=1e-2), accumulate=1)
    signs = {n: layer.weight.sign() for n, layer in plain.network.learned_layers.items()}
    for training in (plain, penalised):
        advance(training, 1)
    for name, layer in plain.network.learned_layers.items():
        # The first step of Nesterov's momentum goes 1 + 0.9 times along the gradient.
        moved = layer.weight - penalised.network.learned_layers[name].weight
        penalty = 0.0 if isinstance(layer, LearnedClassifier) else 1e-2
        torch.testing.assert_close(moved, 0.1 * 1.9 * penalty * signs[name], atol=1e-6, rtol=1e-3)


def test_recomputing_drops_out_the_same(begin: Any) -> None:
    recipe = TWO_EPOCHS.replace(dropout=0.3, classifier_dropout=0.3)
    plain, recomputing = begin(recipe), begin(recipe, recompute=True)
    for training in (plain, recomputing):
        advance(training, 2)
    assert recomputing.network.recompute
    assert differing(plain.network, recomputing.network) == []


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"dropout": 0.3}, {}),
        ({"classifier_dropout": 0.3}, {}),
        ({"label_smoothing": 0.1}, {}),
        ({"weight_decay": 1e-2}, {}),
        ({"decay_vectors": False}, {}),
        ({"momentum": 0.5}, {}),
        ({"precision": "bf16"}, {}),
        ({}, {"seed": 1}),
        ({}, {"accumulate": 2}),
    ],
)
def test_what_a_recipe_says_matters(
    begin: Any, changes: dict[str, Any], settings: dict[str, int]
) -> None:
    recipe = TWO_EPOCHS.replace(**changes)
    if recipe.precision != "32":
        settings = {**settings, "fabric": machine("cpu", recipe.precision)}
    plain, changed = begin(), begin(recipe, **settings)
    for training in (plain, changed):
        advance(training, 2)
    assert differing(plain.network, changed.network)
    assert {p.dtype for p in changed.network.parameters()} == {torch.float32}


def test_the_global_generator_neither_matters_nor_changes(begin: Any) -> None:
    recipe = TWO_EPOCHS.replace(dropout=0.3)
    trained = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            before = torch.default_generator.get_state()
            training = begin(recipe)
            advance(training, 2)
            trained.append(training.network)
            assert torch.equal(torch.default_generator.get_state(), before)
    assert differing(*trained) == []


def test_images_are_augmented_as_the_recipe_says(
    small: NetworkSpec, few: DataSplits, fabric: Fabric
) -> None:
    assert isinstance(few.train, MemoryPart)
    shifted = dataclasses.replace(few, train=dataclasses.replace(few.train, augmentable=True))
    networks = []
    for augment in ("none", "crop-flip", "crop-flip"):
        recipe = TWO_EPOCHS.replace(augment=augment)
        training = Training(small, shifted, recipe, seed=0, fabric=fabric)
        advance(training, 1)
        networks.append(training.network)
    assert differing(networks[0], networks[1])
    assert differing(networks[1], networks[2]) == []


# --- Condensing -------------------------------------------------------------------------------


@pytest.mark.parametrize("pruning", PRUNING)
@pytest.mark.parametrize("updates", [1, 7])
def test_however_few_the_updates_everything_is_condensed(
    begin: Any, few: DataSplits, pruning: str, updates: int
) -> None:
    recipe = Recipe(name="few", epochs=1, batch_size=-(-96 // updates), pruning=pruning)
    training = begin(recipe)
    assert training.steps == updates * recipe.epochs_in_all
    advance(training, training.steps)
    network = training.finish()
    assert not network.training
    assert len(network.learned_layers) == 9
    for layer in network.learned_layers.values():
        kept = layer.mask.shape[1] // layer.factor
        assert layer.mask.sum(1).tolist() == [kept] * len(layer.mask)
    assert network.to_inference().form == "condensed"


@pytest.mark.parametrize(("pruning", "expected"), [("gradual", [2, 3, 4]), ("traditional", [4])])
def test_drops_come_before_their_updates(begin: Any, pruning: str, expected: list[int]) -> None:
    training = begin(TWO_EPOCHS.replace(pruning=pruning, epochs=2 if pruning == "gradual" else 1))
    dropped, before = [], masks_of(training.network)
    for step in range(8):
        advance(training, 1)
        if any(map(torch.ne, *map(_counts, (before, masks_of(training.network))))):
            dropped.append(step)
        before = masks_of(training.network)
    assert dropped == expected


def _counts(masks: list[Tensor]) -> list[Tensor]:
    return [mask.sum() for mask in masks]


def test_validating_drops_nothing(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = []
    evaluate, condense = module.evaluate, LearnedLayer.condense
    evaluating = False

    def watched(network: Network, *args: Any, **more: Any) -> Any:
        nonlocal evaluating
        before, evaluating = copy.deepcopy(network.state_dict()), True
        assert not network.training
        measured = evaluate(network, *args, **more)
        evaluating = False
        after = network.state_dict()
        evaluated.append(all(torch.equal(tensor, after[n]) for n, tensor in before.items()))
        return measured

    def guarded(layer: LearnedLayer, progress: float) -> None:
        assert layer.training
        assert not evaluating
        condense(layer, progress)

    monkeypatch.setattr(module, "evaluate", watched)
    monkeypatch.setattr(LearnedLayer, "condense", guarded)
    training = begin()
    for _ in range(8):
        training.network.train()
        advance(training, 1)
    assert evaluated == [True, True]
    assert training.network.training


def test_a_classifier_condensed_at_conversion_is_whole_until_the_end(
    small: NetworkSpec, few: DataSplits, fabric: Fabric
) -> None:
    spec = training_spec(small, 10, 8, "conversion")
    training = Training(spec, few, TWO_EPOCHS, seed=0, fabric=fabric)
    advance(training, 8)
    *others, classifier = training.network.learned_layers.values()
    assert all(layer.is_condensed for layer in others)
    assert bool(classifier.mask.all())
    assert training.finish().to_inference().form == "condensed"
    assert classifier.is_condensed


def test_statistics_are_computed_anew_from_condensed_layers(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int, str]] = []

    def watched(
        network: Network, part: Any, batch_size: int, *, batches: int, augment: str
    ) -> None:
        assert all(layer.is_condensed for layer in network.learned_layers.values())
        calls.append((batch_size, batches, augment))

    monkeypatch.setattr(module, "recalibrate", watched)
    for batches in (0, 3):
        training = begin(TWO_EPOCHS.replace(recalibration_batches=batches), accumulate=2)
        advance(training, 1)
        training.finish()
    # In training each of the two shards has its own statistics; so have they here.
    assert calls == [(12, 3, "crop-flip")]


# --- The moving average -----------------------------------------------------------------------


def test_the_average_follows_the_weights(begin: Any) -> None:
    training = begin(TWO_EPOCHS.replace(ema_decay=0.75))
    averages = []
    weights = []
    for step in range(8):
        advance(training, 1)
        weights.append({n: p.detach().clone() for n, p in training.network.named_parameters()})
        averages.append({n: p.detach().clone() for n, p in training.result.named_parameters()})
        for name, average in averages[-1].items():
            # The first update copies.
            expected = weights[0][name]
            if step:
                decay = min(0.75, (1 + step) / (10 + step))
                expected = decay * averages[-2][name] + (1 - decay) * weights[-1][name]
            torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-6)
        buffers = dict(training.network.named_buffers())
        assert all(torch.equal(b, buffers[n]) for n, b in training.result.named_buffers())
    assert all(map(torch.equal, masks_of(training.network), masks_of(training.result)))
    assert differing(training.network, training.result)
    assert training.finish() is training.result


def test_without_an_average_the_weights_themselves_are_kept(begin: Any) -> None:
    training = begin()
    assert training.average is None
    assert training.result is training.network
    assert training.finish() is training.network


def test_the_average_is_what_is_validated(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Network] = []
    evaluate = module.evaluate
    monkeypatch.setattr(
        module, "evaluate", lambda n, *args, **more: seen.append(n) or evaluate(n, *args, **more)
    )
    training = begin(TWO_EPOCHS.replace(ema_decay=0.9))
    advance(training, 4)
    assert seen == [training.result]
    assert seen != [training.network]


# --- Going on ---------------------------------------------------------------------------------

EVERYTHING = TWO_EPOCHS.replace(
    dropout=0.2,
    classifier_dropout=0.1,
    ema_decay=0.8,
    label_smoothing=0.1,
    decay_vectors=False,
    recalibration_batches=2,
)
COURSES: dict[str, tuple[Recipe, int, tuple[int, ...]]] = {
    # Drops are before updates 2, 3 and 4; the first epoch ends after the fourth update.
    "plain": (TWO_EPOCHS, 1, (2, 4, 8)),
    "everything": (EVERYTHING, 2, (3, 4, 7)),
    "bf16": (TWO_EPOCHS.replace(precision="bf16", dropout=0.2), 1, (3,)),
    "traditional": (TWO_EPOCHS.replace(epochs=1, pruning="traditional"), 1, (4, 5)),
}
"""Recipe, accumulated shards, and after which updates it is left."""


@pytest.mark.parametrize("course", COURSES)
def test_what_is_taken_up_again_ends_as_if_it_had_never_been_left(
    begin: Any, tmp_path: Path, course: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if course == "everything":
        # Rows are sums of several updates then, and are left halfway.
        monkeypatch.setattr(module, "MOST_STEP_ROWS", 2)
    recipe, accumulate, stops = COURSES[course]
    settings = {"accumulate": accumulate, "fabric": machine("cpu", recipe.precision)}
    whole = begin(recipe, **settings)
    advance(whole, 8)
    finished = whole.finish()
    for stop in stops:
        left = begin(recipe, **settings)
        advance(left, stop)
        save_checkpoint(left, tmp_path / "checkpoint.pt", {})
        advance(left, 1)
        resumed = begin(recipe, **settings)
        resumed.load_state(load_checkpoint(tmp_path / "checkpoint.pt", {}))
        assert (resumed.step, resumed.density) == (stop, _density_after(whole, stop))
        advance(resumed, 8)
        assert resumed.step == whole.step == 8
        assert rows_of(resumed) == rows_of(whole)
        assert differing(resumed.finish(), finished) == []
        assert differing(resumed.network, whole.network) == []


def _density_after(training: Training, step: int) -> float:
    return next((r.density for r in reversed(training.step_rows) if r.step <= step), 1.0)


def test_the_file_holds_no_code(begin: Any, tmp_path: Path) -> None:
    training = begin(EVERYTHING)
    advance(training, 5)
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(training, path, {"recipe": EVERYTHING.to_dict()})
    content = torch.load(path, weights_only=True)
    assert set(content) == {"version", "settings", "state"}
    assert {type(value) for value in leaves(content)} <= {
        *(Tensor, int, float, str, bool, type(None))
    }


def leaves(value: Any) -> Iterator[Any]:
    """What is in no container."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


# --- Its network ------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["spec", "training", "conversion"])
def test_only_what_the_data_demand_changes(network: NetworkSpec, when: str) -> None:
    spec = training_spec(network, 10, 16, when)
    assert (spec.image_size, spec.classes) == (16, 10)
    assert spec.head.condense_at == ("training" if when == "spec" else when)
    assert spec.stages == network.stages
    back = training_spec(spec, network.classes, network.image_size, network.head.condense_at)
    assert back == network


def test_a_whole_classifier_stays_whole(network: NetworkSpec) -> None:
    head = dataclasses.replace(network.head, condense_factor=1)
    assert training_spec(network.replace(head=head), 10, 8, "conversion").head == head


def test_a_last_batch_of_one_image_joins_the_one_before(few: DataSplits, fabric: Fabric) -> None:
    # Four stages leave 1 x 1 pixels of the 8 x 8; 96 images are one more than 5 batches of 19.
    stage = DenseStage(depth=1, growth_rate=4)
    deep = NetworkSpec(image_size=8, classes=10, stem=StemSpec(channels=8), stages=(stage,) * 4)
    recipe = Recipe(name="odd", epochs=1, batch_size=19)
    training = Training(deep, few, recipe, seed=0, fabric=fabric)
    assert training.steps == 5
    advance(training, 5)
    assert training.density == 1.0
