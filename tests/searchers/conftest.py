"""Spaces small enough to list, budgets that turn some of them away, and made-up scores."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator

import pytest
import torch

from results.trial import Estimate, Proposal, Score, Trial
from search_space import SPACES, NetworkSpec, SearchSpace, macs
from search_space.admission import cheapest
from search_space.space import Choices
from searchers import SEARCHERS, Admission, Searcher, make_searcher

PLAIN = SPACES["cifar-32"].replace(
    groups=(4,),
    sparse_factors=(1,),
    sfr=("none",),
    fetches=("dense",),
    transitions=("pool",),
    blocks=(1,),
    se_from_stages=(0,),
    hard_swish_from_stages=(0,),
)

SMALL = PLAIN.replace(
    depths=((1, 2, 3),) * 2,
    growth_rates=((4, 8), (4, 8)),
    condense_factors=(1, 2, 4),
    transitions=("pool", "conv-0.5"),
)
"""Seven dimensions, one of them unordered; 648 combinations."""

TINY = PLAIN.replace(depths=((1, 2, 3),), growth_rates=((4, 8),), condense_factors=(2,))
"""Six networks."""

WIDE = SPACES["cifar-32"].replace(
    depths=((1, 2, 3),) * 2,
    growth_rates=((4, 6, 8), (4, 8, 12)),
    groups=(1, 2, 4),
    condense_factors=(1, 2, 4),
    sparse_factors=(1, 2),
    sfr=("none", "all"),
    fetches=("dense", "exponential-2"),
    transitions=("pool",),
    blocks=(1,),
    se_from_stages=(0,),
    hard_swish_from_stages=(0,),
)
"""Fourteen dimensions; a few hundred thousand combinations."""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tensors this small are computed faster by one thread than by several that wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=SEARCHERS, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    """Each searcher in turn."""
    name = str(request.param)
    if name.startswith("nni:"):
        request.getfixturevalue("nni_installed")
    return name


@pytest.fixture(scope="session")
def nni_installed() -> None:
    """Skips where NNI is not installed."""
    if importlib.util.find_spec("nni") is None:
        pytest.skip('NNI is not installed: pip install -e ".[nni]"')


@pytest.fixture(scope="session")
def small() -> SearchSpace:
    return SMALL


@pytest.fixture(scope="session")
def tiny() -> SearchSpace:
    return TINY


@pytest.fixture(scope="session")
def wide() -> SearchSpace:
    return WIDE


@pytest.fixture(scope="session")
def networks() -> Callable[[SearchSpace], dict[str, NetworkSpec]]:
    """Every network of a space by its id."""

    def every(space: SearchSpace) -> dict[str, NetworkSpec]:
        names = [d.name for d in space.dimensions]
        rows = itertools.product(*(d.choices for d in space.dimensions))
        specs = (space.decode(dict(zip(names, row, strict=True))) for row in rows)
        return {spec.id: spec for spec in specs}

    return every


Admit = Callable[[SearchSpace, float], Admission]
Make = Callable[..., Searcher]
End = Callable[[int, Proposal], Trial]


@pytest.fixture(scope="session")
def admission() -> Admit:
    """The gate of a budget of so many MACs."""

    def make(space: SearchSpace, limit: float) -> Admission:
        inside: Choices = cheapest(space, macs)
        return Admission(lambda spec: {"macs": macs(spec) / limit}, inside)

    return make


@pytest.fixture(scope="session")
def make(admission: Admit) -> Make:
    """A searcher by name in a space under a budget."""

    def make(name: str, space: SearchSpace, *, limit: float = 1.6e6, seed: int = 0) -> Searcher:
        return make_searcher(name, space, admission(space, limit), seed)

    return make


@pytest.fixture(scope="session")
def complete() -> End:
    """Ends a proposal with an accuracy that its id determines."""

    def end(number: int, proposal: Proposal) -> Trial:
        count = macs(proposal.spec)
        return Trial(
            number=number,
            state="complete",
            proposal=proposal,
            estimate=Estimate(
                macs=count,
                params=1,
                paper_flops=1,
                latency_ms=count / 1e6,
                latency_low_ms=0.0,
                latency_high_ms=1.0,
            ),
            score=Score(
                accuracy=int(proposal.spec.id[:4], 16) / 0xFFFF, loss=1.0, epochs=1, wall_s=0.0
            ),
        )

    return end


@pytest.fixture(scope="session")
def failed(complete: End) -> End:
    """Ends a proposal without a score."""

    def end(number: int, proposal: Proposal) -> Trial:
        return Trial(
            number=number,
            state="failed",
            proposal=proposal,
            estimate=complete(number, proposal).estimate,
            failure="the loss became nan",
        )

    return end
