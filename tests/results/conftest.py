"""Trials of a small space, made by hand; small networks to write and compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import optuna
import pytest

from results.rungs import RankCorrelation
from results.search_card import SearchCard
from results.session import Session
from results.storage import quiet_optuna
from results.trial import Estimate, Proposal, Score, State, Trial
from results.verify import random_network
from search_space import (
    SPACES,
    DenseStage,
    HeadSpec,
    NetworkSpec,
    SearchSpace,
    StemSpec,
    TransitionSpec,
)
from search_space.network import Network
from search_space.space import Choices

SPACE = SPACES["cifar-32"].replace(
    depths=((1, 2, 3),),
    growth_rates=((4, 8),),
    groups=(4,),
    condense_factors=(1, 2, 4),
    sparse_factors=(1,),
    sfr=("none",),
    fetches=("dense", "exponential-2"),
    transitions=("pool",),
    blocks=(1,),
    se_from_stages=(0,),
    hard_swish_from_stages=(0,),
)
"""Four dimensions, one of them unordered."""

ESTIMATE = Estimate(
    macs=1_234_567,
    params=8_910,
    paper_flops=1_300_000,
    latency_ms=12.5,
    latency_low_ms=10.0,
    latency_high_ms=15.0,
)


@pytest.fixture(autouse=True, scope="session")
def quiet() -> Iterator[None]:
    """As the command leaves Optuna's messages."""
    before = optuna.logging.get_verbosity()
    quiet_optuna()
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def space() -> SearchSpace:
    return SPACE


@pytest.fixture
def estimate() -> Estimate:
    return ESTIMATE


@pytest.fixture
def proposal() -> Callable[..., Proposal]:
    """The network of so many layers, with notes."""

    def make(depth: int = 3, growth_rate: int = 8, **notes: object) -> Proposal:
        choices: Choices = {
            "stage1_depth": depth,
            "stage1_growth_rate": growth_rate,
            "stage1_condense_factor": 2,
            "stage1_fetch": "dense",
        }
        return Proposal(choices=choices, spec=SPACE.decode(choices), notes=dict(notes))

    return make


@pytest.fixture
def score() -> Callable[[float], Score]:
    """A score of an accuracy."""
    return lambda accuracy: Score(accuracy=accuracy, loss=1.25, epochs=3, wall_s=0.5)


@pytest.fixture
def trial(
    proposal: Callable[..., Proposal], score: Callable[[float], Score]
) -> Callable[..., Trial]:
    """A trial of an accuracy, None where it failed, and a latency within 20 %."""

    def make(
        number: int, accuracy: float | None = 0.5, latency_ms: float = 12.5, state: State = "failed"
    ) -> Trial:
        return Trial(
            number=number,
            state=state if accuracy is None else "complete",
            proposal=proposal(number % 3 + 1),
            estimate=dataclasses.replace(
                ESTIMATE,
                latency_ms=latency_ms,
                latency_low_ms=0.8 * latency_ms,
                latency_high_ms=1.2 * latency_ms,
            ),
            score=None if accuracy is None else score(accuracy),
            failure="the loss became nan" if accuracy is None and state == "failed" else None,
        )

    return make


def _tiny(name: str) -> NetworkSpec:
    """Networks for 8 x 8 images that hold every kind of operation between them."""
    learned = DenseStage(
        depth=3, growth_rate=8, groups_1x1=4, condense_factor=4, groups_3x3=4, se_reduction=2
    )
    reactivating = dataclasses.replace(
        learned, sfr="all", sfr_groups=4, sparse_factor=2, activation="hard_swish"
    )
    stages = {
        "learned": (learned, learned),
        "reactivating": (reactivating, reactivating),
        "sparse": (dataclasses.replace(reactivating, depth=5, fetch="exponential"),) * 2,
        "plain": (DenseStage(depth=2, growth_rate=4),) * 2,
    }[name]
    return NetworkSpec(
        image_size=8,
        classes=6,
        stem=StemSpec(channels=12),
        stages=stages,
        transition=TransitionSpec(kind="conv", compression=0.5)
        if name in ("sparse", "plain")
        else TransitionSpec(),
        head=HeadSpec()
        if name == "plain"
        else HeadSpec(se_reduction=2, features=10, condense_factor=2),
    )


@pytest.fixture
def tiny() -> Callable[[str], NetworkSpec]:
    """One of the small networks by name."""
    return _tiny


@pytest.fixture(params=["learned", "reactivating", "sparse", "plain"])
def spec(request: pytest.FixtureRequest) -> NetworkSpec:
    """Each of the small networks in turn."""
    return _tiny(request.param)


@pytest.fixture
def network(spec: NetworkSpec) -> Network:
    """A masked network at the end of its schedule, with random norms."""
    return random_network(spec)


# --- Searches ------------------------------------------------------------------------------------

SESSION = Session(
    begun="2026-01-01T00:00:00.000+00:00",
    command=("search", "run", "--budget", "1M"),
    machine="a processor, a system",
    cores=2,
    versions={"python": "3.11.7", "torch": "2.15.0"},
    commit="0123456789ab+",
    data="57c04b29019b",
    split="48423f7a586b",
    training_images=1077,
    validation_images=360,
    device="137740d43f52",
)


@pytest.fixture
def session() -> Callable[..., Session]:
    """A session with some fields replaced."""
    return lambda **changes: dataclasses.replace(SESSION, **changes)


@pytest.fixture
def search_card() -> Callable[..., SearchCard]:
    """The card of a search over two rungs with some fields replaced."""
    made = SearchCard(
        study="tried",
        settings={
            "space": SPACE.to_dict(),
            "searcher": "random",
            "seed": 0,
            "data": "digits",
            "trials": 4,
        },
        space=SPACE.name,
        limits="1.00M MACs",
        trainings=["1 epoch at 8x8", "2 epochs at 8x8"],
        states={"complete": 3, "running": 0, "failed": 1},
        rejected={"macs": 7, "duplicate": 2},
        correlations=[RankCorrelation(lower=1, trials=4, spearman=0.5, kendall=1 / 3)],
        training_s=83.25,
        sessions=[SESSION],
    )
    return lambda **changes: dataclasses.replace(made, **changes)
