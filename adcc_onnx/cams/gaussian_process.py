"""Gaussian process regression: predicts the scores of all points from the scores of a few.

Source: Rasmussen and Williams, *Gaussian Processes for Machine Learning* (MIT Press 2006), sections
2.2 (prediction), 4.2 (the rational quadratic kernel) and 5.4 (marginal likelihood).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array

_JOINT = 256  # points whose scores are drawn jointly
_NOISE = 1e-3  # as a fraction of the scores' variance: keeps the matrices well conditioned
# The hyperparameters to try, relative to the points' distances and lengths.
_LENGTHS, _SLOPES = (0.5, 0.8, 1.2, 2.0, 3.5), (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Prediction:
    """The predicted scores of all M points.

    Attributes:
        mean: Score of each point, exact where it was computed, [M].
        deviation: Standard deviation of each score, 0 where it is exact, [M].
        known: Whether each score was computed, [M].
        covariance: Function from the indices of w points to the covariance of their scores, [w, w].
    """

    mean: Float64Array
    deviation: Float64Array
    known: NDArray[np.bool_]
    covariance: Callable[[NDArray[np.intp]], Float64Array]

    @property
    def expected(self) -> Float64Array:
        """Scores whose exponential is the expected value of exp(score): mean + variance / 2."""
        scores: Float64Array = self.mean + self.deviation**2 / 2
        return scores

    def draws(self, count: int) -> Float64Array:
        """Random samples of the scores of all points, [count, M].

        The unknown points with the highest expected scores are drawn jointly, the others
        independently.
        """
        source = np.random.default_rng(0)
        scores = self.mean + self.deviation * source.standard_normal((count, len(self.mean)))
        order = np.argsort(-self.expected, kind="stable")
        joint = order[~self.known[order]][:_JOINT]
        root = np.linalg.cholesky(self.covariance(joint))
        correlated = source.standard_normal((count, len(joint))) @ root.T
        scores[:, joint] = self.mean[joint] + correlated
        return scores


class GaussianProcess:
    """A Gaussian process with the kernel variance * (1 / (1 + d^2 / 2 l^2) + slope x.y).

    It learns the scores of a few of its points at a time, and predicts those of all points. With
    each learned point, the Cholesky factor L of the kernel matrix grows by a row.

    Args:
        points: The points, [M, d].
        hyperparameters: Length scale l and slope, see `fit_hyperparameters`.
    """

    def __init__(self, points: Float64Array, hyperparameters: tuple[float, float]) -> None:
        self._points, self._hyperparameters = points, hyperparameters
        self._lengths = (points**2).sum(axis=1)
        self._left = 1 + hyperparameters[1] * self._lengths  # the unexplained variance per point
        self._rows = np.zeros((0, len(points)))  # L^-1 kernel(known points, all points)
        self._white = np.zeros((0, 2))  # L^-1 of the known scores, and of ones
        self._scores = np.zeros(len(points))
        self._known = np.zeros(len(points), bool)

    def learn(self, chosen: NDArray[np.intp], scores: Float64Array) -> None:
        """Add the scores of the points with these indices."""
        cross, above = self._residual_kernel(chosen, slice(None)), self._rows[:, chosen].T
        values = np.stack([scores, np.ones(len(scores))], axis=1) - above @ self._white
        corner = np.linalg.cholesky(cross[:, chosen] + _NOISE * np.eye(len(chosen)))
        rows = _whitened(corner, cross)
        self._rows = np.vstack([self._rows, rows])
        self._white = np.vstack([self._white, _whitened(corner, values)])
        self._left -= (rows**2).sum(axis=0)
        self._scores[chosen], self._known[chosen] = scores, True

    def predict(self) -> Prediction:
        """The scores of all points."""
        average = float(self._scores[self._known].mean())
        white = self._white[:, 0] - average * self._white[:, 1]
        variance = _fit_variance(white)
        mean = average + white @ self._rows
        deviation = np.sqrt(variance * np.maximum(self._left, 0.0))

        def covariance(chosen: NDArray[np.intp]) -> Float64Array:
            noise = _NOISE * np.eye(len(chosen))
            return variance * (self._residual_kernel(chosen, chosen) + noise)

        return Prediction(
            np.where(self._known, self._scores, mean),
            np.where(self._known, 0.0, deviation),
            self._known.copy(),
            covariance,
        )

    def _residual_kernel(
        self, chosen: NDArray[np.intp], others: NDArray[np.intp] | slice
    ) -> Float64Array:
        """The kernel between points, minus the part that the known points explain."""
        products = self._points[chosen] @ self._points[others].T
        squares = self._lengths[chosen, None] + self._lengths[others] - 2 * products
        explained = self._rows[:, chosen].T @ self._rows[:, others]
        return _kernel(squares, products, self._hyperparameters) - explained


def fit_hyperparameters(points: Float64Array, scores: Float64Array) -> tuple[float, float]:
    """Length scale and slope with the highest marginal likelihood of a fixed set.

    Args:
        points: The points, [n, d].
        scores: The scores of these points, [n].
    """
    products = points @ points.T
    lengths = np.diag(products)
    squares = lengths[:, None] + lengths - 2 * products
    typical = np.sqrt(max(np.median(squares), 0.0)) or 1.0
    length = float(lengths.mean()) or 1.0
    noise, centered = _NOISE * np.eye(len(points)), scores - scores.mean()

    def log_likelihood(candidate: tuple[float, float]) -> float:
        factor = np.linalg.cholesky(_kernel(squares, products, candidate) + noise)
        variance = _fit_variance(_whitened(factor, centered))
        return -float(np.log(np.diag(factor)).sum() + len(points) * np.log(variance) / 2)

    pairs = itertools.product(_LENGTHS, _SLOPES)
    candidates = ((typical * scale, slope / length) for scale, slope in pairs)
    return max(candidates, key=log_likelihood)


def _whitened(factor: NDArray[np.floating], values: Float64Array) -> Float64Array:
    """L^-1 values for a lower triangular L."""
    from scipy.linalg.lapack import dtrtrs

    # LAPACK stores matrices by columns, and so sees the transpose.
    solved: Float64Array = dtrtrs(factor.T, values, lower=0, trans=1)[0]
    return solved


def _fit_variance(white: Float64Array) -> float:
    """The variance of the process with the highest likelihood of these whitened scores."""
    return float(white @ white) / len(white) or 1e-12


def _kernel(
    squares: Float64Array, products: Float64Array, hyperparameters: tuple[float, float]
) -> Float64Array:
    """1 / (1 + d^2 / 2 l^2) + slope x.y, for squared distances d^2 and products x.y.

    The first term, a rational quadratic, is a mixture of Gaussians of many length scales, since a
    score changes with small and with large parts of a mask.
    """
    length, slope = hyperparameters
    values: Float64Array = 1 / (1 + np.maximum(squares, 0.0) / (2 * length**2)) + slope * products
    return values
