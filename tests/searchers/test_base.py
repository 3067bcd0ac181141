"""The gate before training, and what ``ask`` does when suggestions do not pass it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from results.trial import Proposal, Trial
from search_space import NetworkSpec, SearchSpace, UnknownName, macs
from search_space.space import Choices
from searchers import SEARCHERS, Admission, Searcher, SpaceExhausted, make_searcher

# Six networks: depth 1, 2, 3 and growth rate 4, 8; the cheapest is the first.
CHEAP: Choices = {"stage1_depth": 1, "stage1_growth_rate": 4}
DEAR: Choices = {"stage1_depth": 3, "stage1_growth_rate": 8}


def free(spec: NetworkSpec) -> dict[str, float]:
    return {}


class Stubborn(Searcher):
    """Suggests the same every time."""

    always = DEAR
    suggested = 0

    def suggest(self, number: int, rng: np.random.Generator) -> tuple[Choices, dict[str, Any]]:
        self.suggested += 1
        return dict(self.always), {"mood": "stubborn"}


# --- Admission --------------------------------------------------------------------------------


def test_a_network_inside_is_admitted_and_nothing_counted(tiny: SearchSpace) -> None:
    admission = Admission(lambda spec: {"macs": 1.0, "latency_ms": 0.2}, CHEAP)
    assert admission.admits(tiny, DEAR) == tiny.decode(DEAR)
    assert admission.rejected == {}


def test_each_limit_that_is_broken_is_counted(tiny: SearchSpace) -> None:
    admission = Admission(
        lambda spec: {"macs": 1.5, "latency_ms": 0.9 if spec.stages[0].depth == 1 else 2.0}, CHEAP
    )
    assert admission.admits(tiny, DEAR) is None
    assert admission.rejected == {"macs": 1, "latency_ms": 1}
    assert admission.admits(tiny, CHEAP) is None
    assert admission.rejected == {"macs": 2, "latency_ms": 1}


def test_admitting_alone_does_not_remember(tiny: SearchSpace) -> None:
    admission = Admission(free, CHEAP)
    assert admission.admits(tiny, DEAR) is not None
    assert admission.admits(tiny, DEAR) is not None


def test_a_remembered_network_is_a_duplicate(tiny: SearchSpace) -> None:
    admission = Admission(free, CHEAP)
    admission.remember(tiny.decode(DEAR))
    assert admission.admits(tiny, DEAR) is None
    assert admission.rejected == {"duplicate": 1}
    assert admission.admits(tiny, CHEAP) is not None


def test_a_duplicate_outside_the_budget_counts_as_outside(tiny: SearchSpace) -> None:
    admission = Admission(lambda spec: {"macs": 2.0}, CHEAP)
    admission.remember(tiny.decode(DEAR))
    assert admission.admits(tiny, DEAR) is None
    assert admission.rejected == {"macs": 1}


def test_equal_networks_written_otherwise_are_duplicates(tiny: SearchSpace) -> None:
    # Where nothing reactivates, the sparse factor has no effect.
    space = tiny.replace(sparse_factors=(1, 2))
    admission = Admission(free, CHEAP | {"stage1_sparse_factor": 1})
    admission.remember(space.decode(CHEAP | {"stage1_sparse_factor": 1}))
    assert admission.admits(space, CHEAP | {"stage1_sparse_factor": 2}) is None
    assert admission.rejected == {"duplicate": 1}


def test_a_combination_that_is_no_network_is_counted(tiny: SearchSpace) -> None:
    # A stem of 8 channels leaves a sixteenth of them nothing to keep.
    space = tiny.replace(condense_factors=(1, 16))
    admission = Admission(free, CHEAP | {"stage1_condense_factor": 1})
    assert admission.admits(space, CHEAP | {"stage1_condense_factor": 16}) is None
    assert admission.rejected == {"not a network": 1}


@pytest.mark.parametrize(
    ("ratios", "price"), [({}, 0.0), ({"macs": 0.5}, 0.5), ({"macs": 0.5, "latency_ms": 3.0}, 3.0)]
)
def test_the_price_is_the_largest_ratio(
    tiny: SearchSpace, ratios: dict[str, float], price: float
) -> None:
    assert Admission(lambda spec: ratios, CHEAP).price(tiny.decode(CHEAP)) == price


# --- Searcher ---------------------------------------------------------------------------------


def test_the_first_suggestion_that_passes_is_proposed_with_its_notes(tiny: SearchSpace) -> None:
    searcher = Stubborn(tiny, Admission(free, CHEAP), 0)
    proposal = searcher.ask(0)
    assert proposal == Proposal(choices=DEAR, spec=tiny.decode(DEAR), notes={"mood": "stubborn"})
    assert searcher.suggested == 1


def test_after_so_many_tries_the_last_suggestion_is_moved_inside(tiny: SearchSpace) -> None:
    limit = macs(tiny.decode(CHEAP))
    admission = Admission(lambda spec: {"macs": macs(spec) / limit}, CHEAP)
    searcher = Stubborn(tiny, admission, 0)
    proposal = searcher.ask(0)
    assert searcher.suggested == searcher.tries == 100
    assert proposal.choices == CHEAP
    assert proposal.notes == {"mood": "stubborn", "moved_inside": True}
    assert admission.rejected == {"macs": 100}


def test_moving_inside_keeps_what_it_can(tiny: SearchSpace) -> None:
    # Depth 3 fits, growth rate 8 does not; which of the two goes first is chance.
    def moved(seed: int) -> Choices:
        admission = Admission(lambda spec: {"growth": spec.stages[0].growth_rate / 4}, CHEAP)
        return Stubborn(tiny, admission, seed).ask(0).choices

    found = [moved(seed) for seed in range(8)]
    assert {c["stage1_growth_rate"] for c in found} == {4}
    assert {c["stage1_depth"] for c in found} == {1, 3}


def test_a_searcher_that_repeats_itself_is_led_elsewhere(tiny: SearchSpace) -> None:
    searcher = Stubborn(tiny, Admission(free, CHEAP), 0)
    proposals = [searcher.ask(number) for number in range(6)]
    assert len({p.spec.id for p in proposals}) == 6
    assert ["moved_inside" in p.notes for p in proposals] == [False] + [True] * 5
    with pytest.raises(SpaceExhausted, match="after 100 suggestions and 50 walks"):
        searcher.ask(6)


def test_a_network_that_was_told_is_never_proposed(
    tiny: SearchSpace, failed: Callable[[int, Proposal], Trial]
) -> None:
    searcher = Stubborn(tiny, Admission(free, CHEAP), 0)
    searcher.tell(failed(0, Proposal(choices=DEAR, spec=tiny.decode(DEAR))))
    assert searcher.ask(1).choices != DEAR


def test_choices_without_effect_are_written_one_way(tiny: SearchSpace) -> None:
    class Sparse(Stubborn):
        always = CHEAP | {"stage1_sparse_factor": 2}

    space = tiny.replace(sparse_factors=(1, 2))
    proposal = Sparse(space, Admission(free, CHEAP | {"stage1_sparse_factor": 1}), 0).ask(0)
    assert proposal.choices == CHEAP | {"stage1_sparse_factor": 1}


def test_a_network_whose_plainest_form_is_no_choice_can_be_proposed(tiny: SearchSpace) -> None:
    # One layer: last-1 is all of them, but `all` is no choice here.
    class LastOne(Stubborn):
        always = CHEAP | {"stage1_sfr": "last-1"}

    space = tiny.replace(sfr=("none", "last-1"))
    admission = Admission(free, CHEAP | {"stage1_sfr": "none"})
    assert LastOne(space, admission, 0).ask(0).choices == LastOne.always


# --- The registry -----------------------------------------------------------------------------


def test_an_unknown_name_lists_the_known_ones(tiny: SearchSpace) -> None:
    with pytest.raises(UnknownName) as caught:
        make_searcher("optuna:cmaes", tiny, Admission(free, CHEAP), 0)
    assert "searcher 'optuna:cmaes'" in str(caught.value)
    assert all(name in str(caught.value) for name in SEARCHERS)


def test_a_searcher_keeps_what_it_was_made_with(name: str, tiny: SearchSpace) -> None:
    admission = Admission(free, CHEAP)
    searcher = make_searcher(name, tiny, admission, 3)
    assert (searcher.space, searcher.admission, searcher.seed) == (tiny, admission, 3)
