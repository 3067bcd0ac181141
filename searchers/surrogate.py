"""What a network that is not trained yet may reach: a Gaussian process over what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import yeojohnson, yeojohnson_llf

from results.pareto import evenly

Array = NDArray[np.float64]
Prior = tuple[float, float]
"""Mean and standard deviation of the logarithm of a parameter."""

JITTER = 1e-6
POWERS = (-1.0, 6.0)
PRIOR_AMPLITUDES: Prior = (-0.7, 1.0)
"""Mean and deviation of the logarithm: each part of the kernel has about half of the variance."""
PRIOR_NOISE: Prior = (-5.0, 1.5)
"""Likewise, of accuracies: a training differs from another of the same network by some hundredths
of the deviation between networks."""
ITERATIONS = 50
MOST_FITTED = 100
"""Values from which parameters are found, spread over all there are: dozens of numbers need no
more, and the time it takes grows with the cube. The posterior is that of all values."""


class Warp:
    """Accuracies on a scale on which they are more nearly normal (Yeo and Johnson 2000).

    A space holds a few networks that learn next to nothing, and many that differ by tenths of a
    point; on the plain scale a Gaussian process would take its idea of a difference from the few.
    Warped outputs in such a search: Cowen-Rivers et al. 2022 (HEBO), section 4.
    """

    def __init__(self, values: Array) -> None:
        self._middle = float(np.median(values))
        self._unit = float(values.std()) or 1.0
        scaled = (values - self._middle) / self._unit
        power = 1.0
        if len(np.unique(values)) > 2:
            found = minimize_scalar(
                lambda power: -yeojohnson_llf(power, scaled), bounds=POWERS, method="bounded"
            )
            power = float(found.x)
        # Between points of a grid, so that the inverse is defined everywhere.
        self._plain = np.linspace(scaled.min() - 3, scaled.max() + 3, 2001)
        self._warped = yeojohnson(self._plain, power)

    def forward(self, values: Array) -> Array:
        """Onto the new scale."""
        scaled = (values - self._middle) / self._unit
        warped: Array = np.interp(scaled, self._plain, self._warped)
        return warped

    def inverse(self, warped: Array) -> Array:
        """Back again."""
        return self._middle + self._unit * np.interp(warped, self._warped, self._plain)


def _squared_distances(a: Array, b: Array) -> Array:
    """``(n, d)`` and ``(m, d)`` to ``(n, m)``."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)
    distances: Array = np.maximum(squares - 2 * a @ b.T, 0)
    return distances


def _matern(squared: Array) -> tuple[Array, Array]:
    """The Matern 5/2 kernel of squared distances, and its derivative by them."""
    r = np.sqrt(5 * squared)
    decay = np.exp(-r)
    return (1 + r + r * r / 3) * decay, -5 / 6 * (1 + r) * decay


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Of the kernel: length scale of each group of features, variances of its parts."""

    scales: Array
    smooth: float
    linear: float
    noise: float

    @classmethod
    def of(cls, logs: Array) -> Parameters:
        """From the logarithms: of all length scales, then of the three variances."""
        smooth, linear, noise = np.exp(logs[-3:])
        return cls(
            scales=np.exp(logs[:-3]), smooth=float(smooth), linear=float(linear), noise=float(noise)
        )


class GaussianProcess:
    """A posterior over functions of features, given values at some of them.

    The kernel is a sum: linear, for what each choice adds by itself, and Matern 5/2, for how
    choices act together. Features come in groups (those of one choice, say) that share a length
    scale; scales, variances and noise maximise the marginal likelihood times a prior whose scales
    grow with the square root of the number of groups (Hvarfner et al. 2024, arXiv:2402.02229).

    Args:
        x: Features ``(n, d)``, scaled so that in the mean two networks differ by 1 in each group.
        y: Values ``(n,)``.
        groups: The group of each feature, ``(d,)``.
        parameters: Found from the values if not given.
        noise: The prior by which they are found.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        groups: NDArray[np.intp],
        parameters: Parameters | None = None,
        *,
        noise: Prior = PRIOR_NOISE,
    ) -> None:
        self._given = x, y, groups
        self._mean, self._unit = float(y.mean()), float(y.std()) or 1.0
        z = (y - self._mean) / self._unit
        self._centre = x.mean(0)
        if parameters is None:
            some = evenly(len(z), MOST_FITTED)
            parameters = _fitted((x - self._centre)[some], z[some], groups, noise)
        self.parameters = parameters
        self._weights = 1 / self.parameters.scales[groups]
        self._x = (x - self._centre) * self._weights
        kernel = self._kernel(self._x)
        kernel[np.diag_indices(len(z))] += self.parameters.noise + JITTER
        self._root = cholesky(kernel, lower=True)
        self._dual = cho_solve((self._root, True), z)

    def _kernel(self, x: Array) -> Array:
        """``(m, d)``, centred and weighted, to ``(m, n)``."""
        p = self.parameters
        smooth, _ = _matern(_squared_distances(x, self._x))
        kernel: Array = p.smooth * smooth + 2 * p.linear * x @ self._x.T
        return kernel

    def with_values(self, x: Array, y: Array) -> GaussianProcess:
        """With the values of ``(m, d)`` besides, and the same parameters."""
        known_x, known_y, groups = self._given
        x, y = np.concatenate([known_x, x]), np.concatenate([known_y, y])
        return GaussianProcess(x, y, groups, self.parameters)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of a new value at ``(m, d)``; each ``(m,)``.

        The noise is counted: it is also what sets one network apart from its like for no reason
        that features tell, and no network is trained twice to average that out.
        """
        x = (x - self._centre) * self._weights
        kernel = self._kernel(x)
        explained = solve_triangular(self._root, kernel.T, lower=True)
        p = self.parameters
        variance = p.smooth + p.linear * 2 * (x**2).sum(1) - (explained**2).sum(0)
        deviation = np.sqrt(np.maximum(variance, 0) + p.noise)
        return self._mean + self._unit * (kernel @ self._dual), self._unit * deviation


def _fitted(x: Array, z: Array, groups: NDArray[np.intp], noise: Prior) -> Parameters:
    """The parameters of highest posterior density."""
    count, n = int(groups.max()) + 1, len(z)
    middle = np.array([0.5 * np.log(count)] * count + [PRIOR_AMPLITUDES[0]] * 2 + [noise[0]])
    spread = np.array([1.0] * count + [PRIOR_AMPLITUDES[1]] * 2 + [noise[1]])

    def loss(logs: Array) -> tuple[float, Array]:
        """Minus the logarithm of the density, and its gradient."""
        p = Parameters.of(logs)
        weighted = x / p.scales[groups]
        smooth, slope = _matern(_squared_distances(weighted, weighted))
        linear = 2 * weighted @ weighted.T
        kernel = p.smooth * smooth + p.linear * linear
        kernel[np.diag_indices(n)] += p.noise + JITTER
        root = cholesky(kernel, lower=True)
        inverse = cho_solve((root, True), np.eye(n))
        dual = inverse @ z
        by_kernel = (inverse - np.outer(dual, dual)) / 2
        # Of sums of a_ij (x_i - x_j)^2 and of b_ij x_i x_j, for each feature by itself.
        by_distance, by_product = p.smooth * by_kernel * slope, p.linear * by_kernel
        by_weights = by_distance.sum(0) @ weighted**2
        by_weights += (weighted * ((by_product - by_distance) @ weighted)).sum(0)
        by_scales = -4 * np.bincount(groups, by_weights, minlength=count)
        variances = p.smooth * smooth, p.linear * linear, p.noise * np.eye(n)
        gradient = [*by_scales, *((by_kernel * v).sum() for v in variances)]
        off = (logs - middle) / spread
        value = z @ dual / 2 + np.log(np.diag(root)).sum() + off @ off / 2
        return float(value), np.array(gradient) + off / spread

    found = minimize(
        loss,
        middle,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(middle - 4 * spread, middle + 4 * spread, strict=True)),
        options={"maxiter": ITERATIONS},
    )
    return Parameters.of(found.x)
