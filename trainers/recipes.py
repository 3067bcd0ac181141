"""The papers' trainings by name, as data, and what is chosen where a paper leaves a number open."""

from __future__ import annotations

from pathlib import Path

from search_space.blocks import DenseStage, ShuffleStage
from search_space.cost import cost
from search_space.errors import UnknownName, UserError
from search_space.reading import read_yaml
from search_space.spec import NetworkSpec
from trainers.recipe import Recipe

_IMAGENET_V2 = Recipe(
    name="condensenetv2-imagenet",
    epochs=350,
    batch_size=1024,
    learning_rate=0.4,
    # Five epochs from 0.1, as the authors' code has it; the paper does not say.
    warmup_epochs=5,
    warmup_start=0.25,
    weight_decay=4e-5,
    decay_vectors=False,
    label_smoothing=0.1,
    augment="imagenet-strong",
    ema_decay=0.9998,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # CondenseNet, section 4.1.
        Recipe(name="condensenet-cifar", epochs=300),
        # CondenseNet, table 1, rows with a star. Dropout is for the networks of more than 3 M
        # parameters (section 4.1), which both of these are.
        Recipe(name="condensenet-cifar-600", epochs=600, dropout=0.1),
        # CondenseNet, section 4.2: half of the classifier's inputs go at epoch 60.
        Recipe(
            name="condensenet-imagenet",
            epochs=120,
            batch_size=256,
            group_lasso=1e-5,
            condense_classifier="training",
            augment="imagenet",
        ),
        # CondenseNetV2, appendix C, and the authors' code.
        _IMAGENET_V2,
        # CondenseNetV2, table 4, without the augmented setting. That "differs from the original
        # setting" of CondenseNet in ways the paper leaves open: kept are batch, learning rate and
        # weight decay, taken out label smoothing, RandAugment, random erasing and the average.
        _IMAGENET_V2.replace(
            name="condensenetv2-imagenet-plain",
            label_smoothing=0.0,
            augment="imagenet",
            ema_decay=0.0,
        ),
        # CondenseNetV2's CIFAR details: hyper-parameters "similar to" CondenseNet's, other settings
        # those of ImageNet. They contradict each other in weight decay, 1e-4 or 4e-5. CondenseNet's
        # 1e-4 on all parameters is taken, so that the two families differ in their networks alone.
        Recipe(name="condensenetv2-cifar", epochs=300),
        # SparseNet, section 4.1.
        Recipe(name="sparsenet-cifar", epochs=300, schedule="steps", milestones=(0.5, 0.75)),
        # "The same as DenseNet's" (arXiv:1608.06993, section 4.2).
        Recipe(
            name="sparsenet-imagenet",
            epochs=90,
            batch_size=256,
            schedule="steps",
            milestones=(1 / 3, 2 / 3),
            augment="imagenet",
        ),
        # The README of ShuffleNetV2+'s authors' code: 450,000 updates of 1024 images.
        Recipe(
            name="shufflenetv2plus",
            epochs=360,
            batch_size=1024,
            learning_rate=0.5,
            schedule="linear",
            weight_decay=4e-5,
            decay_vectors=False,
            label_smoothing=0.1,
            classifier_dropout=0.2,
            augment="imagenet-colour",
        ),
        # Ours: all condensing stages in minutes.
        Recipe(name="quick", epochs=5, recalibration_batches=8),
        # Ours: what a search scores candidates by.
        Recipe(name="proxy", epochs=3, recalibration_batches=8),
    )
}
"""Recipes by name."""


CIFAR_PIXELS = 64
"""Up to here a network is trained as the papers train on CIFAR, above it as on ImageNet."""
DROPOUT_PARAMS = 3_000_000
"""CondenseNets of more parameters are trained with dropout (CondenseNet, section 4.1)."""


def paper_recipe(spec: NetworkSpec) -> Recipe:
    """The recipe of the paper that a network is from, or is most like."""
    small = spec.image_size <= CIFAR_PIXELS
    if any(isinstance(stage, ShuffleStage) for stage in spec.stages):
        return RECIPES["condensenetv2-cifar" if small else "shufflenetv2plus"]
    stages = [stage for stage in spec.stages if isinstance(stage, DenseStage)]
    if any(stage.sfr != "none" for stage in stages):
        return RECIPES["condensenetv2-cifar" if small else "condensenetv2-imagenet"]
    if all(stage.condense_factor == 1 for stage in stages):
        return RECIPES["sparsenet-cifar" if small else "sparsenet-imagenet"]
    if small and cost(spec).params > DROPOUT_PARAMS:
        return RECIPES["condensenet-cifar-600"]
    return RECIPES["condensenet-cifar" if small else "condensenet-imagenet"]


def recipe(name: str) -> Recipe:
    """A recipe by its name, or out of a ``.yaml`` file as written beside trained weights.

    Raises:
        UnknownName: no such recipe; the message lists the known ones.
        UserError: the file is missing or holds no recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise UnknownName("recipe (or path of a .yaml file)", name, RECIPES)
    try:
        data = read_yaml(path)
    except UserError as error:
        raise UserError(f"the recipe {error}") from None
    return Recipe.from_dict(data, str(path))
