"""What follows from the values of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from results.remaining import Remaining
from results.report import Report
from results.report.data import tips, words
from results.report.text import markdown
from results.trial import Retrained, Score, Trial

ReportOf = Callable[..., Report]


def test_the_front_the_best_and_the_course(report: ReportOf) -> None:
    made = report()
    assert [t.number for t in made.front] == [0, 1, 3]
    assert made.best.number == 3
    assert made.reference_ms == 40.0
    # 0.4 over 30 ms, 0.4 more over 26, 0.1 more over 10, of 40.
    assert made.course[-1] == (4, pytest.approx((0.4 * 30 + 0.4 * 26 + 0.1 * 10) / 40))


def test_without_a_limit_the_slowest_network_counts_too(
    report: ReportOf, trial: Callable[..., Trial]
) -> None:
    made = report(latency_limit_ms=None, trials=[trial(0, 0.4, 10.0), trial(1, 0.9, 30.0)])
    assert made.reference_ms == pytest.approx(33.0)
    # 0.4 over 23 ms, then 0.5 more over 3, of 33.
    assert [share for _, share in made.course] == pytest.approx(
        [0.4 * 23 / 33, (0.4 * 23 + 0.5 * 3) / 33]
    )
    said = markdown(made, "figures", "")
    assert "0 to 33.0 ms, 1.1 times the slowest network" in said


@pytest.mark.parametrize("changed", ["data", "split", "validation_images"])
def test_sessions_on_other_images_leave_no_intervals(report: ReportOf, changed: str) -> None:
    made = report()
    one = made.card.sessions[0]
    other = dataclasses.replace(one, **{changed: 100 if changed == "validation_images" else "x"})
    mixed = report(card=dataclasses.replace(made.card, sessions=[one, other]))
    assert mixed.accuracy_interval(mixed.best) is None
    assert "Accuracies may be of different images" in markdown(mixed, "figures", "")
    same = report(card=dataclasses.replace(made.card, sessions=[one, one]))
    assert same.accuracy_interval(same.best) == made.accuracy_interval(made.best)
    assert "different images" not in markdown(same, "figures", "")


def test_intervals_of_accuracies_need_the_number_of_images(report: ReportOf) -> None:
    made = report()
    assert made.validation_images == 360
    # Wilson's for 324 of 360 and z = 1.645.
    assert made.accuracy_interval(made.best) == pytest.approx((0.8708, 0.9232), abs=2e-4)
    unknown = report(card=dataclasses.replace(made.card, sessions=[]))
    assert unknown.accuracy_interval(unknown.best) is None


def test_only_contenders_are_compared(report: ReportOf, trials: list[Trial]) -> None:
    score = Score(accuracy=0.95, loss=1.0, epochs=1, wall_s=1.0)
    rungs = [dataclasses.replace(t, rungs=(score, score)) for t in trials[:2]]
    lower = dataclasses.replace(trials[3], rungs=(score,))
    made = report(trials=[*rungs, lower])
    assert [t.number for t in made.contenders] == [0, 1]
    assert made.best.number == 1
    assert "trial-3" not in tips(made)
    card = dataclasses.replace(made.card, states={"complete": 3, "running": 0, "failed": 0})
    said = markdown(dataclasses.replace(made, card=card), "figures", "")
    assert "1 network of lower rungs cannot be compared, and is left out." in said


@pytest.mark.parametrize(
    ("networks", "running", "said"),
    [
        (0, 0, ""),
        (1, 0, "not complete: 1 network to be scored yet."),
        (3, 2, "not complete: 3 networks to be scored yet, 2 networks begun."),
    ],
)
def test_a_search_that_goes_on_says_so(
    report: ReportOf, networks: int, running: int, said: str
) -> None:
    made = report()
    card = dataclasses.replace(made.card, states={"complete": 5, "running": running, "failed": 1})
    left = Remaining(networks=networks, seconds_each=None, training=0, training_s=None)
    assert report(card=card, remaining=left).state.endswith(said)
    assert bool(report(card=card, remaining=left).state) == bool(networks)


def test_what_is_told_of_marks(report: ReportOf) -> None:
    found = tips(report())
    assert set(found) == {
        *(f"trial-{n}" for n in range(5)),
        "reference-condensenet-50",
        "reference-sparsenet-40-k12",
    }
    assert "30.0 [24.0, 36.0] ms" in found["trial-3"]
    assert "90.0% accuracy" in found["trial-3"]
    assert found["reference-condensenet-50"][1:] == [
        "25.0 [20.0, 30.0] ms",
        "2.50M MACs",
        "printed: 5 % top-1 error on cifar10",
    ]


def test_full_trainings_are_told(trials: list[Trial]) -> None:
    full = Retrained(accuracy=None, test_accuracy=0.97, recipe="quick", epochs=9, folder="x")
    assert "trained in full" not in words(trials[0])
    found = words(dataclasses.replace(trials[0], retrained=full))
    assert found["trained in full"] == "97.0% on the test part"
