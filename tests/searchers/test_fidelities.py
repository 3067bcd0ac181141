"""Cheaper trainings tell of the last one."""

from __future__ import annotations

import numpy as np
import pytest

from searchers.fidelities import Fidelities, Observed


def made(features: int, networks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features, and accuracies that depend on them crookedly."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.6, 0.6, (networks, features))
    return x, 0.6 + 0.1 * x[:, 0] - 0.2 * np.abs(x[:, 1]) + 0.1 * x[:, 2] * x[:, 3]


def cheap(accuracy: np.ndarray) -> np.ndarray:
    """After a shorter training: lower, on another scale, in the same order."""
    return 0.1 + 0.5 * accuracy**2


def observed(x: np.ndarray, accuracy: np.ndarray, in_last: int) -> list[Observed]:
    none = np.empty((len(x), 0))
    low = cheap(accuracy)
    return [
        Observed(rows=x, accuracy=low, cheaper=none),
        Observed(rows=x[:in_last], accuracy=accuracy[:in_last], cheaper=low[:in_last, None]),
    ]


GROUPS = np.arange(6)


def error_and_deviation(kinds: list[Observed]) -> tuple[float, float]:
    x, accuracy = made(6, 200, seed=1)
    model = Fidelities(kinds, GROUPS)
    mean, deviation = model.predict(x)
    off = model.to_accuracy(mean) - accuracy
    return float(np.sqrt(np.mean(off**2))), float(deviation.mean())


def test_a_cheaper_training_of_many_tells_of_a_longer_one_of_few() -> None:
    x, accuracy = made(6, 60)
    with_cheaper, _ = error_and_deviation(observed(x, accuracy, 10))
    none = np.empty((10, 0))
    alone, _ = error_and_deviation([Observed(rows=x[:10], accuracy=accuracy[:10], cheaper=none)])
    assert with_cheaper < 0.6 * alone


def test_each_of_three_trainings_tells_of_the_next() -> None:
    x, accuracy = made(6, 60)
    middle = cheap(accuracy)
    lowest = cheap(middle)
    none = np.empty((60, 0))
    chain = [
        Observed(rows=x, accuracy=lowest, cheaper=none),
        Observed(rows=x[:20], accuracy=middle[:20], cheaper=lowest[:20, None]),
        Observed(rows=x[:8], accuracy=accuracy[:8], cheaper=middle[:8, None]),
    ]
    error, _ = error_and_deviation(chain)
    alone, _ = error_and_deviation([Observed(rows=x[:8], accuracy=accuracy[:8], cheaper=none[:8])])
    assert error < 0.6 * alone
    new, _ = made(6, 5, seed=2)
    model = Fidelities(chain, GROUPS)
    assert np.all(model.believing(new).predict(new)[1] < model.predict(new)[1])


@pytest.mark.parametrize("seed", range(3))
def test_the_best_that_went_on_do_not_hide_what_the_cheaper_training_says_of_the_others(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    x, accuracy = made(6, 60, seed=seed + 5)
    low, long = (values + 0.01 * rng.standard_normal(60) for values in (cheap(accuracy), accuracy))
    best = np.argsort(-low)[:9]
    model = Fidelities(
        [
            Observed(rows=x, accuracy=low, cheaper=np.empty((60, 0))),
            Observed(rows=x[best], accuracy=long[best], cheaper=low[best, None]),
        ],
        GROUPS,
    )
    new, truth = made(6, 200, seed=1)
    assert np.corrcoef(model.predict(new)[0], truth)[0, 1] > 0.85


def test_what_the_cheaper_training_leaves_open_stays_open() -> None:
    x, accuracy = made(6, 60)
    _, of_few = error_and_deviation(observed(x[:12], accuracy[:12], 10))
    _, of_many = error_and_deviation(observed(x, accuracy, 10))
    assert of_few > 1.3 * of_many


def test_belief_leaves_the_mean_and_takes_uncertainty_away() -> None:
    x, accuracy = made(6, 40)
    model = Fidelities(observed(x, accuracy, 20), GROUPS)
    new, _ = made(6, 5, seed=2)
    mean, deviation = model.predict(new)
    later_mean, later_deviation = model.believing(new).predict(new)
    assert np.allclose(later_mean, mean, atol=0.1)
    assert np.all(later_deviation < deviation)
    again, _ = model.predict(new)
    assert np.array_equal(again, mean)
