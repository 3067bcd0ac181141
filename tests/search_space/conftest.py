"""Small networks, one per way of writing a layer, that several tests measure and convert."""

from collections.abc import Callable, Iterator

import pytest
import torch

from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec, TransitionSpec


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
