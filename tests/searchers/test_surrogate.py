"""The warp of accuracies and the Gaussian process over features."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from searchers import surrogate
from searchers.surrogate import GaussianProcess, Parameters, Warp

SKEWED = np.array([0.1, 0.45, 0.7, 0.85, 0.88, 0.9, 0.91, 0.915, 0.92, 0.921])
GROUPS = np.array([0, 0, 1, 2])


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The third group has no effect."""
    x = np.random.default_rng(0).standard_normal((n, 4))
    return x, x[:, 0] - np.sin(2 * x[:, 2])


def test_a_warp_keeps_the_order_and_can_be_undone() -> None:
    warp = Warp(SKEWED)
    assert (np.diff(warp.forward(SKEWED)) > 0).all()
    assert warp.inverse(warp.forward(SKEWED)) == pytest.approx(SKEWED, abs=1e-3)


def test_a_warp_takes_most_of_the_skew_out() -> None:
    def skew(values: np.ndarray) -> float:
        return float(np.mean(((values - values.mean()) / values.std()) ** 3))

    assert abs(skew(Warp(SKEWED).forward(SKEWED))) < 0.5 * abs(skew(SKEWED))


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5], [0.2, 0.5]])
def test_a_warp_of_hardly_any_values_is_a_shift(values: list[float]) -> None:
    warp = Warp(np.array(values))
    points = np.array([0.1, 0.3, 0.5])
    assert np.diff(warp.forward(points), 2) == pytest.approx([0.0], abs=1e-9)


def test_the_process_passes_near_what_it_was_given_and_is_sure_there() -> None:
    x, y = data(40)
    process = GaussianProcess(x, y, GROUPS)
    mean, deviation = process.predict(x)
    assert mean == pytest.approx(y, abs=0.15)
    far, unsure = process.predict(x + 100)
    assert (unsure > 3 * deviation).all()
    assert far.shape == (40,)


def test_a_new_value_differs_by_the_noise_even_where_one_is_known() -> None:
    x, y = data(40)
    parameters = Parameters(scales=np.ones(3), smooth=1.0, linear=0.1, noise=0.25)
    _, deviation = GaussianProcess(x, y, GROUPS, parameters).predict(x)
    assert (deviation >= 0.5 * y.std()).all()


def test_the_process_predicts_and_finds_what_matters() -> None:
    x, y = data(120)
    process = GaussianProcess(x[:80], y[:80], GROUPS)
    mean, deviation = process.predict(x[80:])
    assert np.abs(mean - y[80:]).mean() < 0.2 * y.std()
    assert np.mean(np.abs(mean - y[80:]) < 3 * deviation) > 0.9
    scales = process.parameters.scales
    assert scales[2] > 2 * scales[1]


def test_many_values_are_all_known_though_parameters_are_found_from_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = data(60)
    monkeypatch.setattr(surrogate, "MOST_FITTED", 30)
    seen: list[int] = []
    original = surrogate._fitted

    def counted(
        x: np.ndarray, z: np.ndarray, groups: np.ndarray, noise: surrogate.Prior
    ) -> Parameters:
        seen.append(len(z))
        return original(x, z, groups, noise)

    monkeypatch.setattr(surrogate, "_fitted", counted)
    process = GaussianProcess(x, y, GROUPS)
    few = GaussianProcess(x[:30], y[:30], GROUPS)
    assert seen == [30, 30]
    assert process.predict(x)[0] == pytest.approx(y, abs=0.15)
    assert process.predict(x)[1][30:].max() < few.predict(x)[1][30:].max()


def test_the_gradient_is_that_of_the_density(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(12)
    seen = []

    def watched(loss, start, **settings):  # type: ignore[no-untyped-def]
        at = start + 0.3
        seen.append((loss(at)[1], approx_fprime(at, lambda logs: loss(logs)[0], 1e-6)))
        return minimize(loss, start, **settings)

    monkeypatch.setattr(surrogate, "minimize", watched)
    GaussianProcess(x, y, GROUPS)
    (gradient, differences), *_ = seen
    assert gradient == pytest.approx(differences, abs=1e-3)
