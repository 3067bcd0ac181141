"""Recipes: every setting has its rule, and they survive being written down."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import pytest
import yaml

from search_space import UserError
from trainers.recipe import CLASSIFIER, PRECISIONS, PRUNING, Recipe
from trainers.recipes import RECIPES
from trainers.schedules import SHAPES

WRONG: dict[str, list[Any]] = {
    "name": ["", None, 3],
    "epochs": [0, -1, 1.5, True, "3", None],
    "batch_size": [0, 1, 64.0, True],
    "learning_rate": [0, -0.1, math.inf, math.nan, "0.1", True],
    "schedule": ["cos", "", None, ["cosine"]],
    "milestones": [(0.5, 1.0), (0.0,), 0.5, ("half",), None, (math.nan,)],
    "warmup_epochs": [-1, math.nan, None],
    "warmup_start": [-0.1, 1.1, math.nan],
    "momentum": [0, 1, math.nan, "0.9"],
    "weight_decay": [-1e-4, math.inf, math.nan],
    "decay_vectors": [1, "yes", None],
    "group_lasso": [-1e-5, math.inf, math.nan],
    "label_smoothing": [-0.1, 1, math.nan],
    "dropout": [-0.1, 1, math.nan, True],
    "classifier_dropout": [-0.1, 1, math.nan],
    "augment": ["", None],
    "ema_decay": [-0.1, 1, math.nan],
    "pruning": ["none", None, ["gradual"]],
    "condense_classifier": ["never", None],
    "recalibration_batches": [-1, 2.5, True],
    "precision": ["16", 16, None, ["32"]],
}
RIGHT: dict[str, list[Any]] = {
    "batch_size": [2],
    "learning_rate": [1e-9, 3],
    "schedule": list(SHAPES),
    "milestones": [(), (0.1, 0.9)],
    "warmup_epochs": [0, 2, 2.5],
    "warmup_start": [0, 1],
    "weight_decay": [0],
    "label_smoothing": [0, 0.99],
    "pruning": list(PRUNING),
    "condense_classifier": list(CLASSIFIER),
    "precision": list(PRECISIONS),
}


def settings(**changes: Any) -> dict[str, Any]:
    return {"name": "mine", "epochs": 3, **changes}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in WRONG.items() for v in vs])
def test_a_setting_out_of_its_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(UserError) as caught:
        Recipe(**settings(**{name: value}))
    assert str(caught.value).startswith(f"`{name}` (={value!r}) must be ")


def test_every_setting_has_a_rule() -> None:
    assert list(WRONG) == [f.name for f in fields(Recipe)]


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in RIGHT.items() for v in vs])
def test_the_ends_of_a_range_are_in_it(name: str, value: Any) -> None:
    assert getattr(Recipe(**settings(**{name: value})), name) == value


@pytest.mark.parametrize("warmup", [3, 4])
def test_a_training_does_not_only_warm_up(warmup: int) -> None:
    message = rf"^`warmup_epochs` \(={warmup}\) must be less than `epochs` \(=3\)$"
    with pytest.raises(UserError, match=message):
        Recipe(**settings(warmup_epochs=warmup))


@pytest.mark.parametrize(("pruning", "epochs"), [("gradual", 300), ("traditional", 600)])
def test_traditional_pruning_trains_twice(pruning: str, epochs: int) -> None:
    assert Recipe(name="figure 7", epochs=300, pruning=pruning).epochs_in_all == epochs


# --- Changing it ------------------------------------------------------------------------------


def test_a_shorter_training_warms_up_for_the_same_share() -> None:
    long = Recipe(name="long", epochs=350, warmup_epochs=5)
    short = long.replace(epochs=7)
    assert short.warmup_epochs == pytest.approx(0.1)
    assert short == long.replace(epochs=7, warmup_epochs=short.warmup_epochs)
    assert long.replace(epochs=7, warmup_epochs=3).warmup_epochs == 3
    assert long.replace(batch_size=8).warmup_epochs == 5
    assert Recipe(name="cold", epochs=300).replace(epochs=7).warmup_epochs == 0


def test_changes_are_read_as_people_write_them() -> None:
    changed = RECIPES["quick"].replace(precision=32, weight_decay="1e-4", milestones=[0.5])
    assert (changed.precision, changed.weight_decay, changed.milestones) == ("32", 1e-4, (0.5,))
    with pytest.raises(UserError, match=r"^the recipe has the unknown setting 'epoch'"):
        changed.replace(epoch=3)
    with pytest.raises(UserError, match=r"^`epochs` \(='3'\) must be"):
        RECIPES["condensenetv2-imagenet"].replace(epochs="3")


@pytest.mark.parametrize("epochs", [0, -3])
def test_what_is_changed_is_checked(epochs: int) -> None:
    with pytest.raises(UserError, match=rf"^`epochs` \(={epochs}\) must be"):
        RECIPES["condensenetv2-imagenet"].replace(epochs=epochs)


# --- Writing it down --------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_being_written(name: str) -> None:
    recipe = RECIPES[name]
    written = recipe.to_dict()
    assert list(written) == [f.name for f in fields(Recipe)]
    assert Recipe.from_dict(json.loads(json.dumps(written))) == recipe
    assert Recipe.from_dict(yaml.safe_load(yaml.safe_dump(written))) == recipe
    assert hash(Recipe.from_dict(written)) == hash(recipe)


def test_what_is_not_written_has_its_usual_value() -> None:
    assert Recipe.from_dict(settings()) == Recipe(name="mine", epochs=3)


def test_numbers_are_read_as_people_write_them() -> None:
    text = "{name: 7, epochs: 3, weight_decay: 1e-4, learning_rate: 2, precision: 32}"
    recipe = Recipe.from_dict(yaml.safe_load(text))
    assert (recipe.name, recipe.weight_decay, recipe.precision) == ("7", 1e-4, "32")
    assert recipe.learning_rate == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the recipe must be a table of settings, not NoneType"),
        ([1], "the recipe must be a table of settings, not list"),
        ({"name": "mine"}, "the recipe lacks `epochs`"),
        ({"epochs": 3}, "the recipe lacks `name`"),
        (settings(epoch=3), "the recipe has the unknown setting 'epoch'; known: ['name', 'epochs'"),
        ({3: 4}, "the recipe has the unknown setting '3'"),
        (settings(weight_decay="little"), "`weight_decay` (='little') must be at least 0"),
        (settings(milestones=[[1]]), "`milestones` (=[[1]]) must be shares"),
        (settings(epochs="3"), "`epochs` (='3') must be a whole number"),
    ],
)
def test_what_is_no_recipe_is_said(data: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Recipe.from_dict(data)
    assert str(caught.value).startswith(message)


def test_the_message_says_where_it_stands() -> None:
    with pytest.raises(UserError, match=r"^runs/recipe\.yaml lacks `name`$"):
        Recipe.from_dict({}, "runs/recipe.yaml")
