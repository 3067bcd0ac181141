from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_space import ZOO, DenseStage, HeadSpec, NetworkSpec, StemSpec, TransitionSpec, UserError
from search_space.deployed import Deployed, FastDeployed
from search_space.flatten import flatten
from search_space.graph import Graph
from search_space.lowering import LOWERINGS, lower
from search_space.network import Network

Trained = Callable[[NetworkSpec], Network]
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def check(network: Network) -> None:
    """All lowerings of both forms compute the same, plainly and fast."""
    expected = network(IMAGES)
    scale = expected.abs().max().item()
    for graph in (flatten(network), flatten(network.to_inference())):
        for name in LOWERINGS:
            lowered = lower(graph, name)
            for module in (Deployed(lowered), FastDeployed(lowered)):
                difference = (module(IMAGES) - expected).abs().max().item()
                assert difference <= 1e-4 * scale, (name, type(module).__name__)


@torch.no_grad()
def test_every_lowering_computes_the_same(any_network: NetworkSpec, trained: Trained) -> None:
    check(trained(any_network))


@st.composite
def hybrids(draw: st.DrawFn) -> NetworkSpec:
    """Small networks in which everything that a dense stage may do is mixed."""

    def stage() -> DenseStage:
        return DenseStage(
            depth=draw(st.integers(1, 4)),
            growth_rate=draw(st.sampled_from((4, 8, 16))),
            bottleneck=draw(st.sampled_from((1, 2, 4))),
            groups_1x1=draw(st.sampled_from((1, 2, 4))),
            condense_factor=draw(st.sampled_from((1, 2, 3, 4))),
            groups_3x3=draw(st.sampled_from((1, 2, 4))),
            sfr=draw(st.sampled_from(("none", "all", "last-1", "every-2"))),
            sparse_factor=draw(st.sampled_from((1, 2, 4))),
            sfr_groups=draw(st.sampled_from((1, 2, 4))),
            sfr_kernel=draw(st.sampled_from((1, 3))),
            sfr_order=draw(st.sampled_from(("pre", "post"))),
            fetch=draw(st.sampled_from(("dense", "exponential"))),
            se_reduction=draw(st.sampled_from((0, 2))),
            activation=draw(st.sampled_from(("relu", "hard_swish"))),
        )

    kind = draw(st.sampled_from(("pool", "conv", "learned")))
    learned = {"groups_1x1": 2, "condense_factor": 2} if kind == "learned" else {}
    return NetworkSpec(
        image_size=8,
        classes=6,
        stem=StemSpec(channels=draw(st.sampled_from((8, 12)))),
        stages=tuple(stage() for _ in range(draw(st.integers(1, 2)))),
        transition=TransitionSpec(kind=kind, compression=1.0 if kind == "pool" else 0.5, **learned),
        head=HeadSpec(condense_factor=draw(st.sampled_from((1, 2)))),
    )


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(spec=hybrids())
@torch.no_grad()
def test_every_lowering_of_a_random_hybrid_computes_the_same(
    spec: NetworkSpec, trained: Trained
) -> None:
    check(trained(spec))


def test_a_runtime_gets_only_what_it_executes(any_network: NetworkSpec) -> None:
    network = Network(any_network, "condensed").eval()

    def kinds(graph: Graph) -> set[str]:
        return {node.kind for node in graph.nodes}

    # Untrained indices are all zero, so that copies agree.
    graph = flatten(network)
    assert lower(graph, "canonical") is graph
    assert not kinds(lower(graph, "ncnn")) & {"index_add", "scatter"}
    assert not kinds(lower(graph, "dense")) & {"gather", "index_add", "scatter"}
    assert not kinds(lower(graph, "onnxruntime-arm")) & {"index_add", "scatter"}
    assert not kinds(lower(graph, "onnxruntime-x86")) & {"affine", "index_add", "scatter"}


def test_no_convolution_of_the_zoo_is_left_with_narrow_blocks() -> None:
    network = Network(ZOO["condensenetv2-a"], "condensed").eval()
    graph = lower(flatten(network), "onnxruntime-x86")
    convs = [n for n in graph.nodes if n.kind == "conv"]
    assert len(convs) > 100
    assert all(n.shape.channels % 16 == 0 for n in convs)


def test_an_unknown_lowering_is_named(sketch: type) -> None:
    s = sketch()
    with pytest.raises(UserError, match="unknown lowering 'tpu'; known: canonical, dense"):
        lower(s.graph(s.conv("x", 2)), "tpu")
