from __future__ import annotations

from collections.abc import Callable

import torch

from search_space import NetworkSpec, ops
from search_space.deployed import Deployed
from search_space.flatten import PLAIN, flatten
from search_space.modules import MODULES
from search_space.network import Network


def test_both_forms_compute_what_their_networks_do(
    any_network: NetworkSpec, trained: Callable[[NetworkSpec], Network]
) -> None:
    masked = trained(any_network)
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for network in (masked, masked.to_inference()):
        graph = flatten(network)
        torch.testing.assert_close(Deployed(graph)(images), network(images), rtol=1e-4, atol=1e-4)
        assert graph.input.shape == (3, 8, 8)
        assert graph.makers[graph.output].shape.channels == any_network.classes


def test_multiply_adds_are_those_of_the_plan(any_network: NetworkSpec) -> None:
    for form in ("masked", "condensed"):
        network = Network(any_network, form).eval()  # type: ignore[arg-type]
        assert flatten(network).macs == sum(op.macs for op in network.plan.ops)


def test_every_operation_is_known() -> None:
    with_settings = {
        *(ops.Conv, ops.LearnedConv, ops.LearnedReactivation, ops.Linear, ops.LearnedLinear),
        *(ops.Norm, ops.Activation, ops.SqueezeExcite, ops.Gather, ops.IndexAdd, ops.Scatter),
        *(ops.Shuffle, ops.AvgPool, ops.MaxPool, ops.Split),
    }
    assert MODULES.keys() == with_settings | PLAIN.keys()
