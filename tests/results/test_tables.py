"""Frames and fronts."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.tables import (
    COLUMNS,
    most_accurate,
    pareto_front,
    trials_frame,
    winners,
)
from results.trial import Retrained, Trial, contenders

TrialOf = Callable[..., Trial]
CHOICES = ["stage1_depth", "stage1_growth_rate", "stage1_condense_factor", "stage1_fetch"]


# --- The front --------------------------------------------------------------------------------


def by_brute_force(trials: list[Trial]) -> set[tuple[float, float]]:
    """The objectives that no others are at least as good as and better in one."""
    done = {t.objectives for t in trials if t.score is not None}
    return {
        (a, ms)
        for a, ms in done
        if not any(b >= a and other <= ms and (b, other) != (a, ms) for b, other in done)
    }


# Few values, so that ties are common.
OUTCOMES = st.lists(
    st.tuples(st.one_of(st.none(), st.sampled_from([0.1, 0.2, 0.3, 0.4])), st.integers(1, 4)),
    max_size=8,
)


@given(outcomes=OUTCOMES)
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_front_is_what_brute_force_finds(
    trial: TrialOf, outcomes: list[tuple[float | None, int]]
) -> None:
    trials = [trial(n, accuracy, float(ms)) for n, (accuracy, ms) in enumerate(outcomes)]
    front = pareto_front(trials)
    assert {t.objectives for t in front} == by_brute_force(trials)
    assert len({t.objectives for t in front}) == len(front)
    for t in front:
        equals = [o.number for o in trials if o.score and o.objectives == t.objectives]
        assert t.number == min(equals)
    latencies = [t.estimate.latency_ms for t in front]
    assert latencies == sorted(latencies)
    best = most_accurate(trials)
    if front:
        assert best == front[-1]
        assert best.objectives[0] == max(t.objectives[0] for t in trials if t.score)
    else:
        assert best is None


def test_the_order_of_the_trials_does_not_matter(trial: TrialOf) -> None:
    trials = [trial(0, 0.2, 1.0), trial(1, 0.2, 1.0), trial(2, 0.3, 2.0), trial(3, 0.1, 3.0)]
    for order in itertools.permutations(trials):
        assert [t.number for t in pareto_front(order)] == [0, 2]


def test_of_two_equally_accurate_the_faster_is_best(trial: TrialOf) -> None:
    best = most_accurate([trial(0, 0.5, 3.0), trial(1, 0.5, 2.0), trial(2, 0.4, 1.0)])
    assert best is not None
    assert best.number == 1


@pytest.mark.parametrize("state", ["running", "failed"])
def test_trials_without_a_score_are_on_no_front(trial: TrialOf, state: str) -> None:
    unscored = trial(0, None, 0.1, state=state)
    assert pareto_front([unscored]) == []
    assert most_accurate([unscored]) is None
    assert [t.number for t in pareto_front([unscored, trial(1, 0.1, 9.0)])] == [1]


def test_nothing_has_no_front() -> None:
    assert pareto_front([]) == []
    assert most_accurate([]) is None


def test_winners_are_the_front_and_then_the_most_accurate_others(trial: TrialOf) -> None:
    trials = [
        trial(0, 0.2, 1.0),
        trial(1, 0.5, 3.0),
        trial(2, 0.4, 4.0),
        trial(3, 0.3, 2.0),
        trial(4, 0.45, 5.0),
        trial(5, None),
    ]
    order = [1, 3, 0, 4, 2]
    for count in range(1, 8):
        assert [t.number for t in winners(trials, count)] == order[:count]
    assert winners([trial(0, None)], 1) == []
    most_accurate_first = [1, 4, 2, 3, 0]
    assert [t.number for t in winners(trials, 5, of_front=False)] == most_accurate_first


# --- Rungs ------------------------------------------------------------------------------------


def in_rung(trial: Trial, number: int) -> Trial:
    """The same, scored in so many rungs."""
    assert trial.score is not None
    return dataclasses.replace(trial, rungs=(trial.score,) * number)


def test_only_those_of_the_highest_rung_compete(trial: TrialOf) -> None:
    trials = [
        in_rung(trial(0, 0.9, 1.0), 1),
        in_rung(trial(1, 0.5, 2.0), 2),
        in_rung(trial(2, 0.6, 3.0), 2),
        in_rung(trial(3, 0.4, 4.0), 2),
        in_rung(trial(4, 0.95, 1.0), 1),
    ]
    assert [t.number for t in contenders(trials)] == [1, 2, 3]
    assert [t.number for t in pareto_front(trials)] == [1, 2]
    best = most_accurate(trials)
    assert best is not None
    assert best.number == 2
    assert [t.number for t in winners(trials, 5)] == [2, 1, 3, 4, 0]
    assert [t.number for t in pareto_front([trials[0], trials[4]])] == [4], "all of the first rung"


def test_a_trial_still_in_a_higher_rung_hides_nobody(trial: TrialOf) -> None:
    climbing = dataclasses.replace(
        trial(1, None, state="running"), rungs=in_rung(trial(0), 2).rungs
    )
    assert [t.number for t in contenders([in_rung(trial(0), 1), climbing])] == [0]


def test_rungs_have_columns_before_the_choices(trial: TrialOf) -> None:
    trials = [trial(0, None), in_rung(trial(1, 0.75), 1), in_rung(trial(2, 0.5), 2)]
    frame = trials_frame(trials)
    columns = ["rungs"] + [
        f"rung{n}_{name}" for n in (1, 2) for name in ("accuracy", "loss", "epochs", "wall_s")
    ]
    assert list(frame.columns) == [*COLUMNS, *columns, *CHOICES]
    assert frame["rungs"].tolist()[1:] == [1, 2]
    assert frame["rung1_accuracy"].tolist()[1:] == [0.75, 0.5]
    assert frame["rung2_accuracy"].isna().tolist() == [True, True, False]


# --- The frame --------------------------------------------------------------------------------


def test_a_row_per_trial_with_costs_score_and_choices(trial: TrialOf) -> None:
    trials = [trial(0, 0.75, 20.0), trial(1, None), trial(2, None, state="running")]
    frame = trials_frame(trials)
    assert list(frame.columns) == [*COLUMNS, *CHOICES]
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["state"].tolist() == ["complete", "failed", "running"]
    assert frame["macs"].tolist() == [1_234_567] * 3
    assert frame["params"].tolist() == [8_910] * 3
    assert frame["latency_ms"].tolist() == [20.0, 12.5, 12.5]
    assert frame["accuracy"].isna().tolist() == [False, True, True]
    assert frame["accuracy"][0] == 0.75
    assert frame["failure"].tolist()[1] == "the loss became nan"
    assert frame["failure"].isna().tolist() == [True, False, True]
    assert frame["architecture"].tolist() == [t.proposal.spec.id for t in trials]
    assert frame["stage1_depth"].tolist() == [1, 2, 3]


def test_a_csv_file_keeps_the_figures(trial: TrialOf) -> None:
    text = trials_frame([trial(0, 0.75, 20.0), trial(1, None)]).to_csv(index=False)
    found = pd.read_csv(io.StringIO(text))
    assert {"accuracy", "macs", "params", "latency_ms"} <= set(found.columns)
    row = found.iloc[0]
    assert (row["accuracy"], row["macs"], row["params"], row["latency_ms"]) == (
        0.75,
        1_234_567,
        8_910,
        20.0,
    )


def test_what_full_training_showed_stands_beside_the_score(trial: TrialOf) -> None:
    full = Retrained(accuracy=0.9, test_accuracy=0.88, recipe="quick", epochs=5, folder="f")
    held_out_none = dataclasses.replace(full, accuracy=None)
    trials = [
        dataclasses.replace(trial(0, 0.75, 20.0), retrained=full),
        dataclasses.replace(trial(1, 0.5, 20.0), retrained=held_out_none),
        trial(2, 0.25, 20.0),
    ]
    frame = trials_frame(trials)
    assert frame["accuracy"].tolist() == [0.75, 0.5, 0.25]
    assert frame["retrained_accuracy"].isna().tolist() == [False, True, True]
    assert frame["retrained_accuracy"][0] == 0.9
    assert frame["retrained_test_accuracy"].tolist()[:2] == [0.88, 0.88]
    assert frame["epochs"].tolist() == [3, 3, 3], "those of the search"


def test_no_trials_still_make_every_column() -> None:
    frame = trials_frame([])
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 0
    assert frame.to_csv(index=False).strip() == ",".join(COLUMNS)
