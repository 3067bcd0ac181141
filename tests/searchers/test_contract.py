"""What every searcher promises; a new one inherits these tests by its line in ``SEARCHERS``."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

from results.making import DIRECTIONS
from results.study import Study
from results.trial import Proposal, Trial
from results.urls import sqlite_url
from search_space import NetworkSpec, SearchSpace, macs
from search_space.admission import cheapest
from search_space.space import Choices
from searchers import Admission, Searcher, SpaceExhausted, make_searcher

LIMIT = 1.6e6
"""About one in four combinations of the small space is outside."""

TRIALS = dict.fromkeys(("optuna:nsga2", "evolution", "nni:evolution", "nni:tpe"), 32)
TRIALS["optuna:gp"] = 15
"""Past the random start of each: twenty networks of which some fail, ten for the others."""
AT_LEAST = 16
STAYS_INSIDE = {"condense"}
"""Searchers that know costs and suggest nothing outside, so that nothing is turned away."""

Make = Callable[..., Searcher]
End = Callable[[int, Proposal], Trial]
Run = Callable[[], list[Trial]]


def told(searcher: Searcher, trials: list[Trial]) -> Searcher:
    for trial in trials:
        searcher.tell(trial)
    return searcher


def from_store(trial: Trial) -> Trial:
    """The trial as a storage gives it back."""
    p = trial.proposal
    choices, notes = json.loads(json.dumps([p.choices, p.notes]))
    spec = NetworkSpec.from_json(p.spec.to_json())
    return dataclasses.replace(trial, proposal=Proposal(choices=choices, spec=spec, notes=notes))


@pytest.fixture(scope="module")
def run(name: str, make: Make, small: SearchSpace, complete: End, failed: End) -> Run:
    """A search in the small space in which each fourth training fails."""

    def run() -> list[Trial]:
        searcher = make(name, small, limit=LIMIT)
        trials: list[Trial] = []
        for number in range(TRIALS.get(name, AT_LEAST)):
            end = failed if number % 4 == 3 else complete
            trials.append(end(number, searcher.ask(number)))
            searcher.tell(trials[-1])
        return trials

    return run


@pytest.fixture(scope="module")
def history(run: Run) -> list[Trial]:
    """One such search."""
    return run()


def test_proposals_are_networks_of_the_space(history: list[Trial], small: SearchSpace) -> None:
    for trial in history:
        choices, spec = trial.proposal.choices, trial.proposal.spec
        assert spec in small
        assert small.decode(choices) == spec
        assert set(choices) == {d.name for d in small.dimensions}


def test_proposals_are_inside_the_budget(history: list[Trial]) -> None:
    assert all(macs(trial.proposal.spec) <= LIMIT for trial in history)


def test_no_network_is_proposed_twice(history: list[Trial]) -> None:
    assert len({trial.proposal.spec.id for trial in history}) == len(history)


def test_the_notes_survive_a_store(history: list[Trial]) -> None:
    assert [from_store(trial) for trial in history] == history


def test_each_of_several_limits_is_kept(name: str, small: SearchSpace, complete: End) -> None:
    def ratios(spec: NetworkSpec) -> dict[str, float]:
        return {
            "macs": macs(spec) / LIMIT,
            "growth": spec.stages[0].growth_rate / 4,
            "layers": sum(stage.depth for stage in spec.stages) / 3,
        }

    rng = np.random.default_rng(0)
    sampled = [ratios(small.decode(small.sample(rng))) for _ in range(50)]
    over = [{limit for limit, ratio in known.items() if ratio > 1} for known in sampled]
    # There are networks that a limit turns away and the others do not.
    assert {"growth"} in over
    assert {"layers"} in over
    searcher = make_searcher(name, small, Admission(ratios, cheapest(small, macs)), 0)
    for number in range(8):
        proposal = searcher.ask(number)
        assert max(ratios(proposal.spec).values()) <= 1
        searcher.tell(complete(number, proposal))


def test_a_seed_determines_a_whole_search(run: Run, history: list[Trial]) -> None:
    assert run() == history


def test_another_seed_proposes_otherwise(
    name: str, make: Make, small: SearchSpace, history: list[Trial]
) -> None:
    # Before anything is told, and of the same trials.
    for trials in ([], history):
        first, other = (told(make(name, small, limit=LIMIT, seed=seed), trials) for seed in (1, 2))
        numbers = range(len(trials), len(trials) + 2)
        assert [first.ask(n).spec for n in numbers] != [other.ask(n).spec for n in numbers]


def test_global_generators_do_not_matter_and_are_left_alone(
    name: str, make: Make, small: SearchSpace, history: list[Trial]
) -> None:
    def proposed(seed: int) -> Proposal:
        np.random.seed(seed)
        random.seed(seed)
        before = str(np.random.get_state()), random.getstate()
        proposal = told(make(name, small, limit=LIMIT), history).ask(len(history))
        assert (str(np.random.get_state()), random.getstate()) == before
        return proposal

    states = np.random.get_state(), random.getstate()
    try:
        assert proposed(1) == proposed(2)
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.6, 1.0])
def test_a_resumed_search_goes_on_as_it_would_have(
    name: str,
    make: Make,
    small: SearchSpace,
    history: list[Trial],
    share: float,
    request: pytest.FixtureRequest,
) -> None:
    k = round(share * (len(history) - 1))
    searcher = told(make(name, small, limit=LIMIT), [from_store(t) for t in history[:k]])
    assert searcher.ask(k) == history[k].proposal


def test_a_stored_study_is_resumed(
    name: str, make: Make, small: SearchSpace, history: list[Trial], tmp_path: Path
) -> None:
    memory = optuna.storages.InMemoryStorage()
    study = Study(optuna.create_study(storage=memory, study_name="it", directions=DIRECTIONS), "")
    study.replace_settings({})
    *ended, last = history
    for trial in ended:
        running = study.start(small, trial.proposal, trial.estimate, {})
        if trial.score is not None:
            study.complete(running, trial.score)
        else:
            study.fail(running, str(trial.failure))
    # Written into a file at once: a commit for each of its attributes would take seconds.
    storage = sqlite_url(tmp_path / "study.db")
    optuna.copy_study(from_study_name="it", from_storage=memory, to_storage=storage)

    stored = Study.load(storage, "it")
    assert stored.trials() == ended
    searcher = told(make(name, small, limit=LIMIT), stored.trials())
    assert searcher.ask(len(stored.trials())) == last.proposal


def test_a_resumed_search_repeats_no_network(
    name: str, make: Make, small: SearchSpace, history: list[Trial]
) -> None:
    # With another seed, so that it is not the same proposals that differ.
    searcher = told(make(name, small, limit=LIMIT, seed=7), history[:9])
    before = {trial.proposal.spec.id for trial in history[:9]}
    after = [searcher.ask(number).spec.id for number in range(9, 13)]
    assert len(set(after)) == 4
    assert before.isdisjoint(after)


def test_networks_to_begin_with_are_first(
    name: str, make: Make, small: SearchSpace, history: list[Trial], complete: End
) -> None:
    mine = [trial.proposal for trial in history[5:7]]
    searcher = make(name, small, limit=LIMIT)
    searcher.begin_with = [proposal.choices for proposal in mine]
    first = complete(0, searcher.ask(0))
    searcher.tell(first)
    resumed = told(make(name, small, limit=LIMIT), [from_store(first)])
    resumed.begin_with = searcher.begin_with
    assert first.proposal.spec == mine[0].spec
    assert searcher.ask(1).spec == resumed.ask(1).spec == mine[1].spec
    others = [searcher.ask(number).spec.id for number in range(2, 6)]
    assert len({first.proposal.spec.id, mine[1].spec.id, *others}) == 6


def test_several_may_be_asked_for_before_the_first_is_told(
    name: str, make: Make, small: SearchSpace, complete: End
) -> None:
    searcher = make(name, small, limit=LIMIT)
    proposals = [searcher.ask(number) for number in range(3)]
    told(searcher, [complete(n, proposals[n]) for n in (2, 0, 1)])
    proposals += [searcher.ask(number) for number in range(3, 6)]
    assert len({p.spec.id for p in proposals}) == 6


def test_nothing_but_failures_is_survived(
    name: str, make: Make, small: SearchSpace, failed: End
) -> None:
    searcher = make(name, small, limit=LIMIT)
    seen = set()
    for number in range(12):
        proposal = searcher.ask(number)
        seen.add(proposal.spec.id)
        searcher.tell(failed(number, proposal))
    assert len(seen) == 12


def test_what_is_turned_away_is_counted(
    name: str, make: Make, small: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few combinations are left inside, so that budget and repetition both turn some away.
    searcher = make(name, small, limit=0.9e6)
    admission = searcher.admission
    expected = {"macs": 0, "duplicate": 0}
    trained: set[str] = set()
    admits = type(admission).admits

    def watched(space: SearchSpace, choices: Choices) -> NetworkSpec | None:
        spec = space.decode(choices)
        if macs(spec) > 0.9e6:
            expected["macs"] += 1
        elif spec.id in trained:
            expected["duplicate"] += 1
        else:
            trained.add(spec.id)
        return admits(admission, space, choices)

    monkeypatch.setattr(admission, "admits", watched)
    for number in range(8):
        searcher.ask(number)
    assert len(trained) == 8
    assert (expected["macs"] == 0) == (name in STAYS_INSIDE)
    assert admission.rejected == {k: n for k, n in expected.items() if n}


def test_a_tiny_space_is_exhausted_and_wholly_used(
    name: str,
    make: Make,
    tiny: SearchSpace,
    complete: End,
    networks: Callable[[SearchSpace], dict[str, NetworkSpec]],
) -> None:
    counts = {key: macs(spec) for key, spec in networks(tiny).items()}
    limit = sorted(counts.values())[3]
    inside = {key for key, count in counts.items() if count <= limit}
    assert 4 <= len(inside) < len(counts)
    searcher = make(name, tiny, limit=limit)
    found = []
    for number in range(len(inside)):
        proposal = searcher.ask(number)
        found.append(proposal.spec.id)
        searcher.tell(complete(number, proposal))
    assert set(found) == inside
    with pytest.raises(SpaceExhausted, match="no network inside the budget is left"):
        searcher.ask(len(inside))


def test_a_tight_budget_still_yields_proposals(
    name: str, make: Make, wide: SearchSpace, complete: End
) -> None:
    limit = 1.1 * macs(wide.decode(cheapest(wide, macs)))
    rng = np.random.default_rng(0)
    inside = sum(macs(wide.decode(wide.sample(rng))) <= limit for _ in range(400))
    assert inside <= 4, "hardly any combination is inside"

    searcher = make(name, wide, limit=limit)
    moved, seen = 0, set()
    for number in range(8):
        proposal = searcher.ask(number)
        assert proposal.spec in wide
        assert macs(proposal.spec) <= limit
        moved += proposal.notes.get("moved_inside", False)
        seen.add(proposal.spec.id)
        searcher.tell(complete(number, proposal))
    assert len(seen) == 8
    assert (moved == 0) == (name in STAYS_INSIDE)
    assert searcher.admission.rejected["macs"] >= searcher.tries * moved


def test_without_a_limit_everything_is_inside(name: str, small: SearchSpace) -> None:
    admission = Admission(lambda spec: {}, cheapest(small, macs))
    searcher = make_searcher(name, small, admission, 0)
    assert "moved_inside" not in searcher.ask(0).notes
    assert not admission.rejected
