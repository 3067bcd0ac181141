"""What is decayed, penalised and dropped, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec, build
from search_space.modules import LearnedClassifier, LearnedGroupConv, LearnedLayer
from search_space.network import Network
from trainers.recipe import Recipe
from trainers.regularise import add_dropout, group_lasso, keyed_draws, parameter_groups

PLAIN = Recipe(name="plain", epochs=1, weight_decay=0.01)


@pytest.fixture
def learning(small: NetworkSpec) -> Network:
    return build(small, generator=torch.Generator().manual_seed(0))


# --- Weight decay -----------------------------------------------------------------------------


def test_everything_is_decayed_where_nothing_else_is_said(learning: Network) -> None:
    (group,) = parameter_groups(learning, PLAIN)
    assert group["weight_decay"] == 0.01
    assert list(map(id, group["params"])) == list(map(id, learning.parameters()))


def test_vectors_can_be_spared(learning: Network) -> None:
    decayed, spared = parameter_groups(learning, PLAIN.replace(decay_vectors=False))
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    assert {p.dim() for p in decayed["params"]} == {2, 4}
    assert {p.dim() for p in spared["params"]} == {1}
    both = [id(p) for group in (decayed, spared) for p in group["params"]]
    assert sorted(both) == sorted(map(id, learning.parameters()))
    norms = [m for m in learning.modules() if isinstance(m, nn.BatchNorm2d)]
    spared_ids = set(map(id, spared["params"]))
    assert all({id(norm.weight), id(norm.bias)} <= spared_ids for norm in norms)


# --- Group lasso ------------------------------------------------------------------------------


@torch.no_grad()
def test_the_penalty_is_of_convolutions_that_still_have_drops_to_come(learning: Network) -> None:
    layers = list(learning.learned_layers.values())
    convolutions = [layer for layer in layers if not isinstance(layer, LearnedClassifier)]
    assert (len(layers), len(convolutions)) == (9, 8)

    def penalty(layers: list[LearnedLayer]) -> float:
        return sum(float(layer.group_lasso()) for layer in layers)

    before = float(group_lasso(learning))
    assert before == pytest.approx(penalty(convolutions))
    learning.condense(0.25)
    assert float(group_lasso(learning)) == pytest.approx(penalty(convolutions))
    assert 0 < float(group_lasso(learning)) < before
    convolutions[0].condense(1.0)
    assert float(group_lasso(learning)) == pytest.approx(penalty(convolutions[1:]))
    learning.condense(0.5)
    assert group_lasso(learning) == 0.0


def test_a_network_that_learns_nothing_has_no_penalty() -> None:
    stage = DenseStage(depth=1, growth_rate=4)
    spec = NetworkSpec(image_size=8, classes=3, stem=StemSpec(channels=4), stages=(stage,))
    assert group_lasso(build(spec)) == 0.0


# --- Dropout ----------------------------------------------------------------------------------

WIDE = NetworkSpec(
    image_size=8,
    classes=10,
    stem=StemSpec(channels=16),
    stages=(
        DenseStage(
            depth=1,
            growth_rate=8,
            groups_1x1=4,
            condense_factor=4,
            sfr="all",
            sparse_factor=4,
            sfr_groups=4,
            se_reduction=2,
        ),
    ),
    head=HeadSpec(features=16, se_reduction=4, condense_factor=4),
)
"""Linear layers of squeeze-and-excitation and a hidden one, besides the classifier."""


def read_by(module: nn.Module, inputs: Tensor) -> Tensor:
    """What the module itself gets to read of its inputs."""
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    module(inputs)
    handle.remove()
    return seen[0]


def ones_for(module: nn.Module) -> Tensor:
    weight = module.get_parameter("weight")
    return torch.ones(64, weight.shape[1], *[4, 4][: weight.dim() - 2])


@pytest.mark.parametrize(("dropout", "classifier_dropout"), [(0.5, 0.0), (0.0, 0.3), (0.5, 0.3)])
@pytest.mark.parametrize("condense_factor", [1, 4])
def test_only_what_the_recipe_says_is_dropped_while_training(
    dropout: float, classifier_dropout: float, condense_factor: int
) -> None:
    head = HeadSpec(features=16, se_reduction=4, condense_factor=condense_factor)
    network = build(WIDE.replace(head=head)).train()
    add_dropout(network, PLAIN.replace(dropout=dropout, classifier_dropout=classifier_dropout))
    classifier = network.steps["head"].get_submodule("classifier")
    assert isinstance(classifier, LearnedClassifier if condense_factor > 1 else nn.Linear)
    readers = [m for m in network.modules() if getattr(m, "weight", None) is not None]
    readers = [m for m in readers if m.get_parameter("weight").dim() > 1]
    assert len(readers) == 10
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in readers:
            rate = dropout if isinstance(module, LearnedGroupConv) else 0.0
            rate = classifier_dropout if module is classifier else rate
            read = read_by(module, ones_for(module))
            # What is kept is scaled up, so that the mean stays.
            assert read[read != 0].unique().tolist() == pytest.approx([1 / (1 - rate)])
            assert float((read == 0).float().mean()) == pytest.approx(rate, abs=0.1)
            assert bool((read == 1).all()) == (rate == 0)


@torch.no_grad()  # else layers with hooks are computed in other steps than those without
def test_nothing_is_dropped_in_evaluation_mode(learning: Network) -> None:
    learning.eval()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = learning(images)
    state = torch.default_generator.get_state()
    add_dropout(learning, PLAIN.replace(dropout=0.5, classifier_dropout=0.5))
    assert torch.equal(learning(images), before)
    assert torch.equal(torch.default_generator.get_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert not torch.equal(learning.train()(images), before)


# --- What is drawn ----------------------------------------------------------------------------


def test_keyed_draws_repeat_and_leave_the_global_generator_as_it_was() -> None:
    before = torch.default_generator.get_state()
    drawn = []
    for key in ((1, 2, 3), (1, 2, 3), (1, 2, 4), (3, 2, 1)):
        with keyed_draws(torch.device("cpu"), *key):
            drawn.append(torch.rand(4))
        assert torch.equal(torch.default_generator.get_state(), before)
    assert torch.equal(drawn[0], drawn[1])
    assert len({tuple(values.tolist()) for values in drawn}) == 3


def test_an_error_inside_leaves_the_global_generator_as_it_was_too() -> None:
    before = torch.default_generator.get_state()
    with pytest.raises(RuntimeError, match="size"), keyed_draws(torch.device("cpu"), 0):
        torch.rand(3) + torch.rand(2)
    assert torch.equal(torch.default_generator.get_state(), before)
