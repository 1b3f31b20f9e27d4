"""Scores of many masks from the scores of a few: a Gaussian process over masks.

Source: Rasmussen and Williams, *Gaussian Processes for Machine Learning* (MIT Press 2006), sections
2.2 (prediction), 4.2 (the rational quadratic kernel), 5.4 (marginal likelihood); the choice of what
to try next is the upper confidence bound of Srinivas et al., ICML 2010,
https://arxiv.org/abs/0912.3995.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array

Array = NDArray[np.float64]
Score = Callable[[NDArray[np.intp]], Array]

_BLUR = 0.7  # cells: masks are compared after a Gaussian of that width, as pictures are
_FIRST, _ROUND = 32, 8  # masks scored before the first fit, and after each
_UCB_BETA = 1.0  # standard deviations added to the predicted score of a mask not yet tried
_POSSIBLE = 64  # exact maps drawn to estimate the agreement
_TOGETHER = 256  # masks whose scores are drawn together
_NOISE = 1e-3  # of the scores' variance: keeps the matrices well conditioned
_LENGTHS, _SLOPES = (0.5, 0.8, 1.2, 2.0, 3.5), (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Prediction:
    """Scores of all masks.

    Attributes:
        mean: the score, exact where it was computed, else predicted, [M].
        deviation: the standard deviation of each, 0 where exact, [M].
        known: which were computed, [M].
        covariance: that of the scores of the masks of these numbers [w], [w, w].
    """

    mean: Array
    deviation: Array
    known: NDArray[np.bool_]
    covariance: Callable[[NDArray[np.intp]], Array]

    @property
    def expected(self) -> Array:
        """Scores whose exponentials are what is expected of exp(score): mean + variance / 2."""
        scores: Array = self.mean + self.deviation**2 / 2
        return scores

    def draws(self, count: int) -> Array:
        """Scores that are still possible, [count, M].

        The open masks of the highest expected scores vary together, the others each by itself.
        """
        source = np.random.default_rng(0)
        scores = self.mean + self.deviation * source.standard_normal((count, len(self.mean)))
        order = np.argsort(-self.expected, kind="stable")
        together = order[~self.known[order]][:_TOGETHER]
        root = np.linalg.cholesky(self.covariance(together))
        shared = source.standard_normal((count, len(together))) @ root.T
        scores[:, together] = self.mean[together] + shared
        return scores


def search(
    masks: Float32Array,
    blank: float,
    score: Score,
    passes: int,
    should_stop: Callable[[Prediction], bool],
) -> Prediction:
    """Score up to `passes` masks, the most promising ones, and predict the others.

    Args:
        masks: [M, h, w], in [0, 1]; the last one is zero everywhere.
        blank: the score of the last mask, which is known.
        score: computes the scores of the masks of these numbers.
        passes: the most masks that may be scored.
        enough: asked after each round whether the prediction is good enough.

    Returns:
        The scores; all NaN where one that was computed is NaN or infinite.
    """
    points = features(masks)
    scores, known = np.zeros(len(masks)), np.zeros(len(masks), bool)
    scores[-1], known[-1] = blank, True
    chosen = farthest_points(points, min(_FIRST, passes, len(masks) - 1))
    process, fitted_on, used = None, 0, 0
    while True:
        scores[chosen], known[chosen] = score(chosen), True
        used += len(chosen)
        if not np.isfinite(scores).all():
            return _unsound(known)
        # The kernel is chosen anew whenever half as many points again have come.
        if process is None or used >= 1.5 * fitted_on:
            chosen, fitted_on = np.flatnonzero(known), used
            process = GaussianProcess(points, fit_hyperparameters(points[known], scores[known]))
        process.learn(chosen, scores[chosen])
        found = process.predict()
        left = min(_ROUND, passes - used, int((~known).sum()))
        if left <= 0 or should_stop(found):
            return found
        promise = np.where(known, -np.inf, found.mean + _UCB_BETA * found.deviation)
        chosen = np.argsort(-promise, kind="stable")[:left]


def _unsound(known: NDArray[np.bool_]) -> Prediction:
    nothing = np.full(len(known), np.nan)
    return Prediction(nothing, nothing, known, lambda some: nothing[some, None])


def expected_agreement(found: Prediction, maps_of: Callable[[Array], Array]) -> float:
    """A Pearson correlation that our map has, almost surely, with the exact one.

    Exact maps are drawn from what the prediction leaves possible; the least correlation with ours
    counts.

    Args:
        found: the scores.
        maps_of: maps [R, p] of scores [R, M].
    """
    possible, ours = maps_of(found.draws(_POSSIBLE)), maps_of(found.expected[None])[0]
    centered = possible - possible.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centered, axis=1) * np.linalg.norm(ours - ours.mean())
    products = centered @ (ours - ours.mean())
    return float(np.divide(products, lengths, out=np.zeros(_POSSIBLE), where=lengths > 0).min())


def features(masks: Float32Array) -> Array:
    """Masks as points whose distance is that of the masks after a slight blur, [M, h w]."""
    # The blur's matrix is the Kronecker product of those along the two sides, and so is its root.
    down, along = (_blur_root(side) for side in masks.shape[1:])
    blurred = np.einsum("mij,ik,jl->mkl", masks.astype(np.float64), down, along, optimize=True)
    points: Array = blurred.reshape(len(masks), -1)
    return points


def _blur_root(side: int) -> Array:
    """L with L L^T the matrix of the blur along one side of so many cells."""
    apart = np.subtract.outer(np.arange(side), np.arange(side))
    root: Array = np.linalg.cholesky(np.exp(-(apart**2) / (2 * _BLUR**2)))
    return root


def farthest_points(points: Array, count: int) -> NDArray[np.intp]:
    """Points far from each other, each the farthest from all before it and from the last point."""
    squares = np.full(len(points), np.inf)
    lengths = (points**2).sum(axis=1)
    chosen = [len(points) - 1]
    for _ in range(count):
        last = chosen[-1]
        squares = np.minimum(squares, lengths + lengths[last] - 2 * points @ points[last])
        chosen.append(int(np.argmax(squares)))
    return np.array(chosen[1:], np.intp)


class GaussianProcess:
    """A Gaussian process with the kernel variance * (1 / (1 + d^2 / 2 l^2) + slope x.y).

    It learns the scores of some of its points, a few at a time, and predicts those of all. With
    each point learned, the Cholesky factor L of the kernel matrix grows by a row.

    Args:
        points: [M, d].
        shape: (l, slope).
    """

    def __init__(self, points: Array, shape: tuple[float, float]) -> None:
        self._points, self._shape = points, shape
        self._lengths = (points**2).sum(axis=1)
        self._left = 1 + shape[1] * self._lengths  # of each point's variance
        self._rows = np.zeros((0, len(points)))  # L^-1 kernel(known points, all points)
        self._white = np.zeros((0, 2))  # L^-1 of the known scores, and of ones
        self._scores = np.zeros(len(points))
        self._known = np.zeros(len(points), bool)

    def learn(self, chosen: NDArray[np.intp], scores: Array) -> None:
        """Take in the scores of the points of these numbers."""
        cross, above = self._open_kernel(chosen, slice(None)), self._rows[:, chosen].T
        values = np.stack([scores, np.ones(len(scores))], axis=1) - above @ self._white
        corner = np.linalg.cholesky(cross[:, chosen] + _NOISE * np.eye(len(chosen)))
        rows = whitened(corner, cross)
        self._rows = np.vstack([self._rows, rows])
        self._white = np.vstack([self._white, whitened(corner, values)])
        self._left -= (rows**2).sum(axis=0)
        self._scores[chosen], self._known[chosen] = scores, True

    def predict(self) -> Prediction:
        """The scores of all points."""
        average = float(self._scores[self._known].mean())
        white = self._white[:, 0] - average * self._white[:, 1]
        variance = fit_variance(white)
        mean = average + white @ self._rows
        deviation = np.sqrt(variance * np.maximum(self._left, 0.0))

        def covariance(chosen: NDArray[np.intp]) -> Array:
            noise = _NOISE * np.eye(len(chosen))
            return variance * (self._open_kernel(chosen, chosen) + noise)

        return Prediction(
            np.where(self._known, self._scores, mean),
            np.where(self._known, 0.0, deviation),
            self._known.copy(),
            covariance,
        )

    def _open_kernel(self, ones: NDArray[np.intp], others: NDArray[np.intp] | slice) -> Array:
        """The kernel between points, less what the known points explain of it."""
        products = self._points[ones] @ self._points[others].T
        squares = self._lengths[ones, None] + self._lengths[others] - 2 * products
        explained = self._rows[:, ones].T @ self._rows[:, others]
        return kernel(squares, products, self._shape) - explained


def fit_hyperparameters(points: Array, scores: Array) -> tuple[float, float]:
    """The shape (l, slope) of a process that is the likeliest to give the points these scores."""
    products = points @ points.T
    lengths = np.diag(products)
    squares = lengths[:, None] + lengths - 2 * products
    typical = np.sqrt(max(np.median(squares), 0.0)) or 1.0
    length = float(lengths.mean()) or 1.0
    noise, centered = _NOISE * np.eye(len(points)), scores - scores.mean()

    def likelihood(shape: tuple[float, float]) -> float:
        factor = np.linalg.cholesky(kernel(squares, products, shape) + noise)
        variance = fit_variance(whitened(factor, centered))
        return -float(np.log(np.diag(factor)).sum() + len(points) * np.log(variance) / 2)

    shapes = itertools.product(_LENGTHS, _SLOPES)
    return max(((typical * long, steep / length) for long, steep in shapes), key=likelihood)


def whitened(factor: NDArray[np.floating], values: Array) -> Array:
    """L^-1 values, of a lower triangular L."""
    from scipy.linalg.lapack import dtrtrs

    solved: Array = dtrtrs(factor.T, values, lower=0, trans=1)[0]  # as LAPACK lays it out
    return solved


def fit_variance(white: Array) -> float:
    """The scale of a process under which these whitened scores are the likeliest."""
    return float(white @ white) / len(white) or 1e-12


def kernel(squares: Array, products: Array, shape: tuple[float, float]) -> Array:
    """1 / (1 + d^2 / 2 l^2) + slope x.y, of squared distances d^2 and products x.y.

    The first part, a rational quadratic, mixes Gaussians of many lengths: a score changes both
    with small and with large parts of a mask.
    """
    length, slope = shape
    values: Array = 1 / (1 + np.maximum(squares, 0.0) / (2 * length**2)) + slope * products
    return values
