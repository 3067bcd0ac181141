"""The papers' trainings, number by number, and which network gets which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from search_space import DenseStage, NetworkSpec, StemSpec, UnknownName, UserError
from search_space.cost import cost
from search_space.zoo import ZOO
from trainers.augment import AUGMENTATIONS
from trainers.recipe import Recipe
from trainers.recipes import CIFAR_PIXELS, RECIPES, paper_recipe, recipe
from trainers.schedules import SHAPES

COMMON = {
    "batch_size": 64,
    "learning_rate": 0.1,
    "schedule": "cosine",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "decay_vectors": True,
    "pruning": "gradual",
    "precision": "32",
}
"""CondenseNet, section 4.1: Nesterov momentum of 0.9, weight decay of 1e-4, batches of 64, a cosine
from 0.1; SparseNet, section 4: the same momentum and decay."""
PLAIN = {
    "milestones": (),
    "warmup_epochs": 0,
    "warmup_start": 0.0,
    "group_lasso": 0.0,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    "classifier_dropout": 0.0,
    "augment": "crop-flip",
    "ema_decay": 0.0,
    "condense_classifier": "spec",
    "recalibration_batches": 0,
}
V2 = {
    "epochs": 350,
    "batch_size": 1024,
    "learning_rate": 0.4,
    "warmup_epochs": 5,
    "warmup_start": 0.25,
    "weight_decay": 4e-5,
    "decay_vectors": False,
}
"""CondenseNetV2, appendix C: 0.4, 1024 images, 4e-5; epochs and warm-up by the authors' code."""

PAPERS: dict[str, dict[str, Any]] = {
    # CondenseNet, section 4.1: 300 epochs.
    "condensenet-cifar": {"epochs": 300},
    # CondenseNet, table 1 and section 4.1: 600 epochs, dropout of 0.1 above 3 M parameters.
    "condensenet-cifar-600": {"epochs": 600, "dropout": 0.1},
    # CondenseNet, section 4.2: 120 epochs, batches of 256, group lasso of 1e-5, half the classifier
    # at epoch 60.
    "condensenet-imagenet": {
        "epochs": 120,
        "batch_size": 256,
        "group_lasso": 1e-5,
        "condense_classifier": "training",
        "augment": "imagenet",
    },
    "condensenetv2-imagenet": {
        **V2,
        "label_smoothing": 0.1,
        "augment": "imagenet-strong",
        "ema_decay": 0.9998,
    },
    "condensenetv2-imagenet-plain": {**V2, "augment": "imagenet"},
    # CondenseNetV2, section 4.2: 300 epochs, batches of 64, a cosine from 0.1.
    "condensenetv2-cifar": {"epochs": 300},
    # SparseNet, section 4.1: from 0.1, divided by ten at epochs 150 and 225.
    "sparsenet-cifar": {
        "epochs": 300,
        "schedule": "steps",
        "milestones": (150 / 300, 225 / 300),
    },
    # DenseNet, section 4.2: 90 epochs, batches of 256, divided by ten at epochs 30 and 60.
    "sparsenet-imagenet": {
        "epochs": 90,
        "batch_size": 256,
        "schedule": "steps",
        "milestones": (30 / 90, 60 / 90),
        "augment": "imagenet",
    },
    # ShuffleNetV2+'s code: 450,000 updates of 1024 of ImageNet's 1,281,167 images.
    "shufflenetv2plus": {
        "epochs": round(450_000 * 1024 / 1_281_167),
        "batch_size": 1024,
        "learning_rate": 0.5,
        "schedule": "linear",
        "weight_decay": 4e-5,
        "decay_vectors": False,
        "label_smoothing": 0.1,
        "classifier_dropout": 0.2,
        "augment": "imagenet-colour",
    },
}
OURS: dict[str, dict[str, Any]] = {
    "quick": {"epochs": 5, "recalibration_batches": 8},
    "proxy": {"epochs": 3, "recalibration_batches": 8},
}


@pytest.mark.parametrize("name", PAPERS | OURS)
def test_the_numbers_are_those_of_the_papers(name: str) -> None:
    expected = {"name": name, **COMMON, **PLAIN, **(PAPERS | OURS)[name]}
    assert RECIPES[name].to_dict() == {**expected, "milestones": list(expected["milestones"])}


def test_every_recipe_was_compared_with_its_paper() -> None:
    assert set(RECIPES) == set(PAPERS | OURS)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_what_a_recipe_names_exists(recipe: Recipe) -> None:
    assert recipe.augment in AUGMENTATIONS
    assert recipe.schedule in SHAPES
    assert bool(recipe.milestones) == (recipe.schedule == "steps")


# --- Networks and their recipes ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("condensenet-50", "condensenet-cifar"),
        ("condensenet-86", "condensenet-cifar"),
        ("condensenet-light-94", "condensenet-cifar"),
        # More than 3 M parameters.
        ("condensenet-light-160", "condensenet-cifar-600"),
        ("condensenet-182", "condensenet-cifar-600"),
        ("condensenet-a", "condensenet-imagenet"),
        ("condensenet-c", "condensenet-imagenet"),
        ("condensenetv2-a", "condensenetv2-imagenet"),
        ("condensenetv2-c", "condensenetv2-imagenet"),
        ("condensenetv2-110", "condensenetv2-cifar"),
        ("condensenetv2-146", "condensenetv2-cifar"),
        ("sparsenet-40-k12", "sparsenet-cifar"),
        ("sparsenet-bc-100-k24", "sparsenet-cifar"),
        ("sparsenet-sum-110", "sparsenet-cifar"),
        ("sparsenet-121", "sparsenet-imagenet"),
        ("sparsenet-201-k48", "sparsenet-imagenet"),
        ("shufflenetv2plus-s", "shufflenetv2plus"),
        ("shufflenetv2plus-l", "shufflenetv2plus"),
        ("sfr-shufflenetv2plus-m", "shufflenetv2plus"),
        ("densenet-40-k12", "sparsenet-cifar"),
        ("densenet-121", "sparsenet-imagenet"),
        ("resnet-50", "sparsenet-imagenet"),
    ],
)
def test_a_network_of_the_zoo_is_trained_as_in_its_paper(prefix: str, expected: str) -> None:
    assert paper_recipe(ZOO[prefix]).name == expected


@pytest.mark.parametrize("name", ["condensenet-182", "condensenet-light-160"])
def test_dropout_is_for_condensenets_of_more_than_three_million_parameters(name: str) -> None:
    assert cost(ZOO[name]).params > 3_000_000
    assert paper_recipe(ZOO[name]).dropout == 0.1


@pytest.mark.parametrize(("size", "expected"), [(64, "cifar"), (65, "imagenet")])
def test_size_tells_cifar_from_imagenet(size: int, expected: str) -> None:
    assert CIFAR_PIXELS == 64
    stage = DenseStage(depth=1, growth_rate=4, condense_factor=2)
    spec = NetworkSpec(image_size=size, classes=10, stem=StemSpec(channels=8), stages=(stage,))
    assert paper_recipe(spec).name == f"condensenet-{expected}"


# --- By name or file --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_a_recipe_is_found_by_name_and_in_files(tmp_path: Path, suffix: str) -> None:
    mine = RECIPES["quick"].replace(name="mine", learning_rate=1e-5)
    path = tmp_path / f"recipe{suffix}"
    path.write_text(yaml.safe_dump(mine.to_dict()), encoding="utf-8")
    assert recipe(str(path)) == mine
    assert recipe("quick") is RECIPES["quick"]


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        recipe("slow")
    assert "recipe (or path of a .yaml file) 'slow'" in str(caught.value)
    assert all(name in str(caught.value) for name in RECIPES)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a: [", b"", b"- 1", b"name: mine"])
def test_a_file_without_a_recipe_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"recipe\.yaml:? (cannot be read: |must be |lacks `epochs`)"
    ):
        recipe(str(path))
