"""NNI's tuners behind ask and tell: what they are handed, and what they leave behind."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from results.trial import Proposal, Trial
from search_space import SearchSpace
from search_space.errors import UserError
from search_space.space import Choices
from searchers import Searcher
from searchers.nni import POPULATION, scalarised

Make = Callable[..., Searcher]
End = Callable[[int, Proposal], Trial]
NO_LIMIT = 1e12
ROOT = Path(__file__).parents[2]

needs_nni = pytest.mark.usefixtures("nni_installed")
both = pytest.mark.parametrize("name", ["nni:tpe", "nni:evolution"])


# --- The one number -----------------------------------------------------------------------------


@pytest.fixture
def trials(make: Make, small: SearchSpace, complete: End) -> list[Trial]:
    """Accuracies 0.5, 0.9 and 0.7; latencies 1, 5 and 2 ms: the third below the chord."""
    searcher = make("random", small)
    rows = [(0.5, 1.0), (0.9, 5.0), (0.7, 2.0)]
    return [with_objectives(complete(n, searcher.ask(n)), *row) for n, row in enumerate(rows)]


def with_objectives(trial: Trial, accuracy: float, latency_ms: float) -> Trial:
    assert trial.score is not None
    return dataclasses.replace(
        trial,
        estimate=dataclasses.replace(trial.estimate, latency_ms=latency_ms),
        score=dataclasses.replace(trial.score, accuracy=accuracy),
    )


@pytest.mark.parametrize(
    ("weight", "losses"),
    [
        (1.0, [1.05, 0.0, 0.525]),
        (0.0, [0.0, 1.05, 0.2625]),
        (0.5, [0.525, 0.525, 0.25 + 0.05 * 0.375]),
    ],
)
def test_the_loss_is_the_augmented_chebyshev_function(
    trials: list[Trial], weight: float, losses: list[float]
) -> None:
    assert scalarised(trials, weight) == pytest.approx(losses)


def test_each_point_of_a_front_that_is_not_convex_is_the_best_for_some_weight(
    trials: list[Trial],
) -> None:
    # The third above the chord: no weighted sum would choose it.
    hollow = [*trials[:2], with_objectives(trials[2], 0.6, 3.8)]
    best = {int(np.argmin(scalarised(hollow, weight))) for weight in np.linspace(0, 1, 101)}
    assert best == {0, 1, 2}


def test_what_all_share_does_not_count(trials: list[Trial]) -> None:
    alike = [with_objectives(t, 0.5, float(t.number)) for t in trials]
    assert scalarised(alike, 1.0) == [0, 0, 0]
    assert scalarised([], 0.3) == []


# --- Searching ----------------------------------------------------------------------------------


def position(space: SearchSpace, choices: Choices) -> float:
    """How far up its choices a combination stands, from 0 to 1, on average."""
    return float(
        np.mean([d.choices.index(choices[d.name]) / (len(d.choices) - 1) for d in space.dimensions])
    )


@needs_nni
@both
def test_what_was_told_leads_to_better_proposals(
    name: str, make: Make, wide: SearchSpace, complete: End
) -> None:
    searcher = make(name, wide, limit=NO_LIMIT)
    positions = []
    for number in range(60):
        proposal = searcher.ask(number)
        positions.append(position(wide, proposal.choices))
        searcher.tell(with_objectives(complete(number, proposal), positions[-1], 1.0))
    assert np.mean(positions[40:]) > np.mean(positions[:20]) + 0.08


@needs_nni
@both
def test_failed_trials_teach_nothing(
    name: str, make: Make, small: SearchSpace, complete: End, failed: End
) -> None:
    guide = make(name, small)
    told = [complete(n, guide.ask(n)) for n in range(24)]
    with_failure, without = make(name, small), make(name, small)
    for trial in told[:23]:
        with_failure.tell(trial)
        without.tell(trial)
    with_failure.tell(failed(23, told[23].proposal))
    without.admission.remember(told[23].proposal.spec)
    assert with_failure.ask(24) == without.ask(24)


@needs_nni
def test_a_full_population_loses_one_for_each_that_it_wins(
    make: Make, wide: SearchSpace, complete: End, failed: End
) -> None:
    from searchers.nni import EvolutionSearcher

    searcher = make("nni:evolution", wide, limit=NO_LIMIT)
    assert isinstance(searcher, EvolutionSearcher)
    sizes = []
    for number in range(POPULATION + 6):
        proposal = searcher.ask(number)
        assert ("step_seed" in proposal.notes) == (len(searcher._population) == POPULATION)
        fails = number == POPULATION + 2
        searcher.tell((failed if fails else complete)(number, proposal))
        sizes.append(len(searcher._population))
    full = [POPULATION] * 2
    assert sizes == [*range(1, POPULATION + 1), *full, POPULATION - 1, POPULATION, *full]


@needs_nni
def test_the_worse_of_a_pair_is_dropped_and_the_better_is_changed_in_one_dimension(
    make: Make, wide: SearchSpace, complete: End
) -> None:
    from searchers.nni import EvolutionSearcher

    searcher = make("nni:evolution", wide, limit=NO_LIMIT)
    assert isinstance(searcher, EvolutionSearcher)
    for number in range(POPULATION):
        trial = complete(number, searcher.ask(number))
        searcher.tell(with_objectives(trial, number / 100, 1.0))
    for seed in range(20):
        choices, left = searcher._step(seed)
        (dropped,) = {t.number for t in searcher._population} - {t.number for t in left}
        assert dropped < POPULATION - 1, "the best of all"
        parents = [
            t.number
            for t in left
            if sum(t.proposal.choices[name] != choices[name] for name in choices) <= 1
        ]
        assert any(parent > dropped for parent in parents)


@needs_nni
def test_failures_side_by_side_may_empty_the_population(
    make: Make, wide: SearchSpace, complete: End, failed: End
) -> None:
    searcher = make("nni:evolution", wide, limit=NO_LIMIT)
    for number in range(POPULATION):
        searcher.tell(complete(number, searcher.ask(number)))
    numbers = range(POPULATION, 2 * POPULATION + 2)
    proposals = [(number, searcher.ask(number)) for number in numbers]
    for number, proposal in proposals:
        searcher.tell(failed(number, proposal))
    assert searcher.ask(2 * POPULATION + 2).spec in wide


# --- The library --------------------------------------------------------------------------------


@needs_nni
def test_nothing_is_printed_and_nothing_written(tmp_path: Path) -> None:
    program = """
from search_space import SPACES, macs
from search_space.admission import cheapest
from searchers import Admission, make_searcher
space = SPACES["cifar-32"]
for name in ("nni:tpe", "nni:evolution"):
    make_searcher(name, space, Admission(lambda spec: {}, cheapest(space, macs)), 0).ask(0)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@both
def test_without_the_library_the_extra_is_named(
    name: str, make: Make, small: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nni", None)
    with pytest.raises(UserError, match=r"library nni is needed .*condensed-search\[nni\]"):
        make(name, small)
