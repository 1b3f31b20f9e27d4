"""Scores of many masks from the scores of a few: a Gaussian process over masks.

Source: Rasmussen and Williams, *Gaussian Processes for Machine Learning* (MIT Press 2006), sections
2.2 (prediction), 5.4 (marginal likelihood); the choice of what to try next is the upper confidence
bound of Srinivas et al., ICML 2010, https://arxiv.org/abs/0912.3995.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Floats

Array = NDArray[np.float64]
Score = Callable[[NDArray[np.intp]], Array]

_BLUR = 0.7  # cells: masks are compared after a Gaussian of that width, as pictures are
_FIRST, _ROUND = 32, 8  # masks scored before the first fit, and after each
_BOLDNESS = 1.0  # standard deviations added to the predicted score of a mask not yet tried
_POSSIBLE = 64  # exact maps drawn to estimate the agreement
_NOISE = 1e-3  # of the scores' variance: keeps the matrices well conditioned
_LENGTHS, _SLOPES = (0.5, 0.8, 1.2, 2.0, 3.5), (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Prediction:
    """Scores of all masks.

    Attributes:
        mean: the score, exact where it was computed, else predicted, [M].
        deviation: the standard deviation of each, 0 where exact, [M].
        known: which were computed, [M].
    """

    mean: Array
    deviation: Array
    known: NDArray[np.bool_]

    @property
    def expected(self) -> Array:
        """Scores whose exponentials are what is expected of exp(score): mean + variance / 2."""
        scores: Array = self.mean + self.deviation**2 / 2
        return scores


def search(
    masks: Floats, blank: float, score: Score, passes: int, enough: Callable[[Prediction], bool]
) -> Prediction:
    """Score up to `passes` masks, the most promising ones, and predict the others.

    Args:
        masks: [M, h, w], in [0, 1].
        blank: the score of the zero mask, which is known.
        score: computes the scores of the masks of these numbers.
        passes: the most masks that may be scored.
        enough: asked after each round whether the prediction is good enough.
    """
    points = features(masks)
    chosen = spread_out(points, min(_FIRST, passes))
    known = np.zeros(len(points), bool)
    scores = np.zeros(len(points))
    shape: tuple[float, float] | None = None
    fitted_on = 0
    while True:
        scores[chosen], known[chosen] = score(chosen), True
        # The kernel is chosen anew whenever half as many points again have come.
        if known.sum() >= 1.5 * fitted_on:
            shape, fitted_on = None, int(known.sum())
        process = Process.fit(points[known], scores[known], blank, shape)
        shape = process.shape
        mean, deviation = process.predict(points)
        found = Prediction(
            np.where(known, scores, mean), np.where(known, 0.0, deviation), known.copy()
        )
        left = min(_ROUND, passes - int(known.sum()), int((~known).sum()))
        if left <= 0 or enough(found):
            return found
        promise = np.where(known, -np.inf, mean + _BOLDNESS * deviation)
        chosen = np.argsort(-promise, kind="stable")[:left]


def expected_agreement(found: Prediction, maps_of: Callable[[Array], Array]) -> float:
    """The Pearson correlation to expect between the map of a prediction and the exact map.

    The exact map is drawn from what is still possible: scores that were not computed vary about
    their prediction by its standard deviation. What is returned is undercut by one draw in ten.

    Args:
        found: the scores.
        maps_of: maps [R, p] of scores [R, M].
    """
    source = np.random.default_rng(0)
    draws = source.standard_normal((_POSSIBLE, len(found.mean)))
    possible = maps_of(found.mean + found.deviation * draws)
    ours = maps_of(found.expected[None])[0]
    centred = possible - possible.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1) * np.linalg.norm(ours - ours.mean())
    products = centred @ (ours - ours.mean())
    agreements = np.divide(products, lengths, out=np.zeros(_POSSIBLE), where=lengths > 0)
    return float(np.quantile(agreements, 0.1))


def features(masks: Floats) -> Array:
    """Masks as points whose distance is that of the masks after a slight blur, [M, h w]."""
    height, width = masks.shape[1:]
    rows, columns = np.divmod(np.arange(height * width), width)
    apart = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    blur = np.exp(-apart / (2 * _BLUR**2))
    root = np.linalg.cholesky(blur + 1e-9 * np.eye(len(blur)))
    points: Array = masks.reshape(len(masks), -1).astype(np.float64) @ root
    return points


def spread_out(points: Array, count: int) -> NDArray[np.intp]:
    """Points far from each other: first the longest, then always the farthest from all chosen."""
    chosen = [int(np.argmax((points**2).sum(axis=1)))]
    distance = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen, np.intp)


@dataclass(frozen=True)
class Process:
    """A Gaussian process with the kernel variance * (exp(-d^2 / 2 l^2) + slope x.y), fitted.

    Attributes:
        points: what it was fitted on, [m, d].
        inverse: of the kernel matrix's Cholesky factor, [m, m].
        weights: kernel matrix^-1 (scores - mean), [m].
        mean, variance: of the scores.
        shape: (l, slope).
    """

    points: Array
    inverse: Array
    weights: Array
    mean: float
    variance: float
    shape: tuple[float, float]

    @classmethod
    def fit(
        cls, points: Array, scores: Array, blank: float, shape: tuple[float, float] | None
    ) -> Process:
        """Fit to scores, and to the blank score at 0; the likeliest shape where none is given."""
        points = np.vstack([points, np.zeros(points.shape[1])])
        scores = np.append(scores, blank)
        centred = scores - scores.mean()
        squares = squared_distances(points, points)
        typical = np.sqrt(np.median(squares)) or 1.0
        length = float((points**2).sum(axis=1).mean()) or 1.0
        shapes = (
            [shape]
            if shape is not None
            else [
                (typical * long, steep / length)
                for long, steep in itertools.product(_LENGTHS, _SLOPES)
            ]
        )
        best = None
        for candidate in shapes:
            kernel = _kernel(squares, points @ points.T, candidate)
            inverse = np.linalg.inv(np.linalg.cholesky(kernel + _NOISE * np.eye(len(points))))
            white = inverse @ centred
            variance = float(white @ white) / len(points) or 1e-12
            likelihood = np.log(np.diag(inverse)).sum() - len(points) * np.log(variance) / 2
            if best is None or likelihood > best[0]:
                best = (likelihood, candidate, inverse, inverse.T @ white, variance)
        assert best is not None
        _, found, inverse, weights, variance = best
        return cls(points, inverse, weights, float(scores.mean()), variance, found)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """(mean, standard deviation) of the scores at points [M, d]."""
        squares = squared_distances(points, self.points)
        cross = _kernel(squares, points @ self.points.T, self.shape)
        mean = self.mean + cross @ self.weights
        own = 1 + self.shape[1] * (points**2).sum(axis=1)
        explained = ((cross @ self.inverse.T) ** 2).sum(axis=1)
        return mean, np.sqrt(self.variance * np.maximum(own - explained, 0.0))


def _kernel(squares: Array, products: Array, shape: tuple[float, float]) -> Array:
    length, slope = shape
    kernel: Array = np.exp(-squares / (2 * length**2)) + slope * products
    return kernel


def squared_distances(one: Array, other: Array) -> Array:
    """[n, m] of points [n, d] and [m, d]."""
    sums = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)
    squares: Array = np.maximum(sums - 2 * one @ other.T, 0.0)
    return squares
