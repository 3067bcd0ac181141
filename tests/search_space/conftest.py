"""Small networks, one per way of writing a layer, that several tests measure and convert."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from search_space import (
    DenseStage,
    HeadSpec,
    NetworkSpec,
    ResidualStage,
    ShuffleStage,
    StemSpec,
    TransitionSpec,
)
from search_space.graph import Graph, Node, Rule, Shape
from search_space.network import Network


def network(
    *stages: DenseStage,
    stem: int = 12,
    classes: int = 6,
    transition: TransitionSpec | None = None,
    head: HeadSpec | None = None,
) -> NetworkSpec:
    """A network for 8 x 8 images."""
    return NetworkSpec(
        image_size=8,
        classes=classes,
        stem=StemSpec(channels=stem),
        stages=stages,
        transition=transition or TransitionSpec(),
        head=head or HeadSpec(),
    )


def condensed(groups: int, factor: int, *, depth: int = 2, **more: object) -> DenseStage:
    """Learned 1x1 convolutions: G = ``groups``, C = ``factor``."""
    return DenseStage(
        depth=depth,
        growth_rate=8,
        groups_1x1=groups,
        condense_factor=factor,
        groups_3x3=4,
        **more,
    )


def reactivating(groups: int, factor: int, **more: object) -> DenseStage:
    """The same with G = C = 4 and reactivations of ``groups`` groups and S = ``factor``."""
    return condensed(
        4,
        4,
        **{"sfr": "all", "sfr_groups": groups, "sparse_factor": factor, **more},
    )


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tensors this small are computed faster by one thread than by several that wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


CONV = TransitionSpec(kind="conv", compression=0.5)

VARIANTS: dict[str, NetworkSpec] = {
    # Condensed.
    "G=C=4": network(condensed(4, 4), condensed(4, 4)),
    "G=2 C=4": network(condensed(2, 4), condensed(2, 4)),
    "G=8 C=2": network(condensed(8, 2), condensed(8, 2)),
    # 14, 22 inputs: a third is no whole number.
    "G=4 C=3 indivisible": network(condensed(4, 3), condensed(4, 3), stem=14),
    "G=1 C=4": network(condensed(1, 4)),
    # Condensed, these 1x1 convolutions have weights of the shape of depth-wise ones.
    "one input per group": network(condensed(4, 8), stem=8),
    "as many groups as inputs": network(condensed(4, 4), stem=4),
    # Reactivating.
    "S=4": network(reactivating(4, 4), reactivating(4, 4)),
    "S=2 of 4 groups": network(reactivating(4, 2), reactivating(4, 2)),
    "S=8 of 2 groups": network(reactivating(2, 8), reactivating(2, 8)),
    "S=3 indivisible": network(reactivating(4, 3), stem=14),
    "S=1": network(reactivating(1, 1)),
    "one group": network(reactivating(1, 2)),
    "as many groups as features": network(reactivating(8, 4)),
    "last-1": network(reactivating(4, 4, depth=3, sfr="last-1")),
    "every-2": network(reactivating(4, 4, depth=4, sfr="every-2")),
    # Squeeze-excite and activations.
    "squeeze-excite": network(reactivating(4, 4, se_reduction=2)),
    "hard-swish": network(reactivating(4, 4, activation="hard_swish")),
    "wide head": network(
        reactivating(4, 4, se_reduction=1, activation="hard_swish"),
        head=HeadSpec(se_reduction=4, features=10),
    ),
    # The classifier.
    "classifier C=2": network(condensed(4, 4), head=HeadSpec(condense_factor=2)),
    "classifier C=3 behind features": network(
        condensed(4, 4), head=HeadSpec(features=10, condense_factor=3)
    ),
    # Transitions.
    "conv transition": network(condensed(4, 4), condensed(4, 4), transition=CONV),
    # Fetching.
    "base 2": network(condensed(4, 4, depth=5, fetch="exponential"), transition=CONV),
    "base 3": network(condensed(4, 4, depth=5, fetch="exponential", fetch_base=3)),
    "base 2, two stages": network(
        condensed(4, 4, depth=3, fetch="exponential"),
        condensed(4, 4, depth=3, fetch="exponential"),
        transition=CONV,
    ),
    "base 2, reactivating": network(reactivating(4, 4, depth=5, fetch="exponential")),
    # With base 3 nothing reads what the last layer of a stage updates.
    "base 3, reactivating": network(
        reactivating(4, 2, depth=5, sfr="every-2", fetch="exponential", fetch_base=3)
    ),
    "base 2, last-2": network(reactivating(2, 4, depth=5, sfr="last-2", fetch="exponential")),
    # Nothing learned.
    "dense 1x1": network(DenseStage(depth=2, growth_rate=4)),
    "no bottleneck": network(DenseStage(depth=2, growth_rate=4, bottleneck=0)),
    "no bottleneck, base 2, reactivating": network(
        DenseStage(
            depth=4,
            growth_rate=4,
            bottleneck=0,
            fetch="exponential",
            sfr="all",
            sparse_factor=2,
            sfr_groups=2,
        )
    ),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request: pytest.FixtureRequest) -> NetworkSpec:
    """Each of the networks in turn."""
    spec: NetworkSpec = request.param
    return spec


@pytest.fixture
def variant_named() -> Callable[[str], NetworkSpec]:
    """One of the networks by name."""
    return VARIANTS.__getitem__


# --- Graphs made by hand --------------------------------------------------------------------------


class Sketch:
    """Writes graphs for images of 8 x 8, with random tensors; methods return the node's name."""

    def __init__(self, channels: int = 4, size: int = 8) -> None:
        image = Node(kind="input", name="x", shape=Shape(channels, size, size))
        self.nodes = {"x": image}
        self.rng = np.random.default_rng(0)

    def add(self, kind: str, *inputs: str, channels: int | None = None, **settings: Any) -> str:
        """A node of its first input's shape unless told otherwise."""
        shape = self.nodes[inputs[0]].shape
        shape = settings.pop("shape", shape._replace(channels=channels or shape.channels))
        name = settings.pop("name", f"{kind}{len(self.nodes)}")
        self.nodes[name] = Node(kind=kind, name=name, inputs=inputs, shape=shape, **settings)
        return name

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int = 1,
        groups: int = 1,
        *,
        bias: bool = False,
        **settings: Any,
    ) -> str:
        inputs = self.nodes[x].shape.channels // groups
        tensors = {"weight": self.rng.standard_normal((channels, inputs, kernel, kernel))}
        if bias:
            tensors["bias"] = self.rng.standard_normal(channels)
        return self.add(
            "conv",
            x,
            channels=channels,
            kernel=(kernel, kernel),
            padding=(kernel // 2, kernel // 2),
            groups=groups,
            tensors=tensors,
            **settings,
        )

    def affine(self, x: str, **settings: Any) -> str:
        channels = self.nodes[x].shape.channels
        tensors = {k: self.rng.standard_normal(channels) for k in ("scale", "shift")}
        return self.add("affine", x, tensors=tensors, **settings)

    def relu(self, x: str) -> str:
        return self.add("activation", x, activation="relu")

    def indexed(self, kind: str, *inputs: str, index: Sequence[int], channels: int) -> str:
        return self.add(kind, *inputs, channels=channels, tensors={"index": np.array(index)})

    def pool(self, x: str) -> str:
        channels, height, width = self.nodes[x].shape
        shape = Shape(channels, height // 2, width // 2)
        return self.add("avg_pool", x, shape=shape, kernel=(2, 2), stride=(2, 2))

    def squeeze_excite(self, x: str, hidden: int = 2) -> str:
        channels = self.nodes[x].shape.channels
        tensors = {
            "reduce": self.rng.standard_normal((hidden, channels)),
            "expand": self.rng.standard_normal((channels, hidden)),
            "bias": self.rng.standard_normal(hidden),
        }
        return self.add("squeeze_excite", x, tensors=tensors, gate="hard_sigmoid")

    def graph(self, output: str) -> Graph:
        return Graph(nodes=tuple(self.nodes.values()), output=output)


@pytest.fixture
def sketch() -> type[Sketch]:
    """What writes graphs by hand."""
    return Sketch


def _check_same(graph: Graph, after: Graph) -> None:
    from search_space.deployed import Deployed, FastDeployed

    images = torch.randn(3, *graph.input.shape, generator=torch.Generator().manual_seed(0))
    expected = Deployed(graph)(images)
    for module in (Deployed(after), FastDeployed(graph), FastDeployed(after)):
        torch.testing.assert_close(module(images), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def computed() -> Callable[[Graph, Graph], None]:
    """Fails where two graphs compute different outputs, plainly or fast."""
    return _check_same


@pytest.fixture
def applied() -> Callable[[Rule, Graph], Graph]:
    """What a rule makes of a graph, having computed that it is the same."""

    def apply(rule: Rule, graph: Graph, *, again: bool = True) -> Graph:
        after = rule(graph)
        _check_same(graph, after)
        if again:
            kinds = [n.kind for n in rule(after).nodes]
            assert kinds == [n.kind for n in after.nodes], "what is written is written"
        return after

    return apply


UNITS: dict[str, NetworkSpec] = {
    "residual": network(
        ResidualStage(
            depth=2, channels=16, groups_1x1=2, condense_factor=2, groups_3x3=2, se_reduction=4
        )
    ),
    "residual, base 2, stride 2": network(
        ResidualStage(
            depth=4, channels=24, stride=2, groups_1x1=2, condense_factor=3, fetch="exponential"
        )
    ),
    "shuffle": network(ShuffleStage(channels=20, units=("3", "5", "xception"), se_reduction=2)),
    "shuffle, reactivating": network(
        ShuffleStage(channels=24, units=("3",) * 3, sfr="all", sparse_factor=2, sfr_groups=4),
        head=HeadSpec(normed=False, conv_features=20, se_reduction=4, se_normed=True, bias=False),
    ),
    "post, kernel 3, blocks": network(
        reactivating(4, 2, sfr_order="post", sfr_kernel=3, condense_block=2),
        stem=16,
        head=HeadSpec(grid=2, condense_factor=2, bias=False),
    ),
    "learned transition": network(
        condensed(4, 4, condense_block=2),
        condensed(4, 4),
        stem=16,
        transition=TransitionSpec(kind="learned", compression=0.5, groups_1x1=4, condense_factor=4),
    ).replace(stem=StemSpec(channels=16, kernel=5, stride=2, normed=True, pooled=True)),
}
"""Units of other kinds, and what else a plan may hold."""


@pytest.fixture(params=[*VARIANTS.values(), *UNITS.values()], ids=[*VARIANTS, *UNITS])
def any_network(request: pytest.FixtureRequest) -> NetworkSpec:
    """A network for every operation and every way of writing a layer."""
    spec: NetworkSpec = request.param
    return spec


@pytest.fixture
def trained() -> Callable[[NetworkSpec], Network]:
    """A masked network at the end of its schedule, its groups and norms all different, some
    scales negative."""

    def make(spec: NetworkSpec) -> Network:
        generator = torch.Generator().manual_seed(0)
        network = Network(spec, "masked", generator).eval()
        network.condense_for_conversion()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                for tensor, low, high in (
                    (module.running_mean, -0.3, 0.3),
                    (module.running_var, 0.5, 2.0),
                    (module.weight, -0.4, 1.0),
                    (module.bias, -0.3, 0.5),
                ):
                    assert tensor is not None
                    tensor.data.uniform_(low, high, generator=generator)
        return network

    return make
