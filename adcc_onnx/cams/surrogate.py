"""Scores of many masks from the scores of a few, by Bayesian optimization.

The next masks to score are chosen by the upper confidence bound of Srinivas et al., ICML 2010,
https://arxiv.org/abs/0912.3995.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.gaussian_process import GaussianProcess, Prediction, fit_hyperparameters
from adcc_onnx.kernels.arrays import Float32Array, Float64Array

Score = Callable[[NDArray[np.intp]], Float64Array]

_BLUR = 0.7  # cells, the sigma of the Gaussian under which masks are compared
_FIRST, _ROUND = 32, 8  # masks scored before the first fit, and per round after it
_UCB_BETA = 1.0  # standard deviations added to the predicted score of a mask not yet scored
_SAMPLES = 64  # exact maps drawn to estimate the agreement


def search(
    masks: Float32Array,
    blank: float,
    score: Score,
    passes: int,
    should_stop: Callable[[Prediction], bool],
) -> Prediction:
    """Score the most promising masks and predict the scores of the others.

    Args:
        masks: The masks in [0, 1], [M, h, w]; the last one is zero everywhere.
        blank: The score of the last mask.
        score: Function that computes the scores of the masks with the given indices.
        passes: Maximum number of masks to score.
        should_stop: Function called after each round, true if the prediction is good enough.

    Returns:
        The scores; all of them are NaN if a computed one is NaN or infinite.
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
            return _failed(known)
        # Fit again whenever the number of scored masks has grown by half.
        if process is None or used >= 1.5 * fitted_on:
            chosen, fitted_on = np.flatnonzero(known), used
            process = GaussianProcess(points, fit_hyperparameters(points[known], scores[known]))
        process.learn(chosen, scores[chosen])
        found = process.predict()
        left = min(_ROUND, passes - used, int((~known).sum()))
        if left <= 0 or should_stop(found):
            return found
        bound = np.where(known, -np.inf, found.mean + _UCB_BETA * found.deviation)
        chosen = np.argsort(-bound, kind="stable")[:left]


def _failed(known: NDArray[np.bool_]) -> Prediction:
    nothing = np.full(len(known), np.nan)
    return Prediction(nothing, nothing, known, lambda chosen: nothing[chosen, None])


def expected_agreement(found: Prediction, maps_of: Callable[[Float64Array], Float64Array]) -> float:
    """A lower bound of the Pearson correlation between the predicted and the exact map.

    Exact maps are drawn from the prediction; the smallest correlation of a drawn map with the
    predicted one is the bound.

    Args:
        found: The predicted scores.
        maps_of: Function from scores [R, M] to maps [R, p].
    """
    possible, predicted = maps_of(found.draws(_SAMPLES)), maps_of(found.expected[None])[0]
    centered = possible - possible.mean(axis=1, keepdims=True)
    deviation = predicted - predicted.mean()
    lengths = np.linalg.norm(centered, axis=1) * np.linalg.norm(deviation)
    products = centered @ deviation
    return float(np.divide(products, lengths, out=np.zeros(_SAMPLES), where=lengths > 0).min())


def features(masks: Float32Array) -> Float64Array:
    """Points, [M, h w], whose distances are those of the masks after a slight blur."""
    # The blur's matrix is the Kronecker product of the matrices along both sides; so is its root.
    down, along = (_blur_root(side) for side in masks.shape[1:])
    blurred = np.einsum("mij,ik,jl->mkl", masks.astype(np.float64), down, along, optimize=True)
    points: Float64Array = blurred.reshape(len(masks), -1)
    return points


def _blur_root(side: int) -> Float64Array:
    """L with L L^T the matrix of the blur along one side of the grid, [side, side]."""
    distance = np.subtract.outer(np.arange(side), np.arange(side))
    root: Float64Array = np.linalg.cholesky(np.exp(-(distance**2) / (2 * _BLUR**2)))
    return root


def farthest_points(points: Float64Array, count: int) -> NDArray[np.intp]:
    """Indices by farthest point sampling, starting from the last point, which is left out."""
    squares = np.full(len(points), np.inf)
    lengths = (points**2).sum(axis=1)
    chosen = [len(points) - 1]
    for _ in range(count):
        last = chosen[-1]
        squares = np.minimum(squares, lengths + lengths[last] - 2 * points @ points[last])
        chosen.append(int(np.argmax(squares)))
    return np.array(chosen[1:], np.intp)
