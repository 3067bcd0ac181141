"""What keeps a training from overfitting, apart from its images: decay, group lasso, dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space.modules import LearnedClassifier, LearnedGroupConv
from search_space.network import Network
from trainers.keyed import seed_of
from trainers.recipe import Recipe

DROPOUT = 1
"""Keeps its draws apart from those of images, whose keys are shorter."""


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The parameters for the optimiser, with and without weight decay."""
    parameters = list(network.parameters())
    if recipe.decay_vectors:
        return [{"params": parameters, "weight_decay": recipe.weight_decay}]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def group_lasso(network: Network) -> Tensor | float:
    """The sum of the group norms of all convolutions that still have drops to come; 0 without any.

    A layer that is fully condensed has no groups left to choose among (CondenseNet, section 3.1;
    the authors' code stops by the number of groups instead of the condense factor).
    """
    layers = network.learned_layers.values()
    waiting = [x for x in layers if not (x.is_condensed or isinstance(x, LearnedClassifier))]
    total: Tensor | float = 0.0
    for layer in waiting:
        total = total + layer.group_lasso()
    return total


def add_dropout(network: Network, recipe: Recipe) -> None:
    """Drops what the learned 1x1 convolutions and the classifier read, in training mode.

    The reactivations are spared: what they read is the layer's output, which others read too.
    """

    def hook(rate: float) -> Any:
        def drop(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
            return F.dropout(inputs[0], rate, module.training)

        return drop

    classifier = None
    for module in network.modules():
        if isinstance(module, LearnedGroupConv) and recipe.dropout:
            module.register_forward_pre_hook(hook(recipe.dropout))
        if isinstance(module, nn.Linear | LearnedClassifier):
            classifier = module
    if classifier is not None and recipe.classifier_dropout:
        classifier.register_forward_pre_hook(hook(recipe.classifier_dropout))


@contextmanager
def keyed_draws(device: torch.device, *key: int) -> Iterator[None]:
    """Inside, torch's global generators draw what belongs to the key; outside nothing changes.

    Dropout draws from them. So a resumed training drops what the uninterrupted one would have.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed_of(*key, DROPOUT))
        yield
