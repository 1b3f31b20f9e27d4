"""Scores and differences of scores after several numbers of images of a random order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.statistics.prefix_estimates import paired_prefix_estimates, prefix_estimates
from adcc_onnx.statistics.sequential_estimates import (
    AsymptoticEstimate,
    BettingEstimate,
    Looks,
    SequentialEstimate,
)

_FEWEST = 2  # images with a value, from which a variance is estimated


def sequential_score(
    values: Float64Array, score: Score, looks: NDArray[np.int64], population: int
) -> SequentialEstimate | None:
    """Estimate the score of a method.

    Args:
        values: Values of the method on n images in random order, [K, n]; NaN where there is none.
        score: The score.
        looks: Numbers of images at which the score is looked at, [L].
        population: Number of images of the dataset.

    Returns:
        The estimate, exact for means of bounded values and asymptotic for others; None if fewer
        than two images have a value.
    """
    known = np.logical_not(np.isnan(values).any(axis=0))
    found = _looks(known, looks, population)
    if found is None:
        return None
    if _is_bounded(score, values):
        populations = _populations(known, population)
        return BettingEstimate(values[0, known], populations, score.metric.value_range, found)
    estimates = prefix_estimates(
        values[:, known], score.from_means, found.counts, _spans(score, values)
    )
    return AsymptoticEstimate(estimates, found)


def sequential_difference(
    first: Float64Array,
    second: Float64Array,
    score: Score,
    looks: NDArray[np.int64],
    population: int,
) -> SequentialEstimate | None:
    """Estimate how much better the first of two methods is.

    Args:
        first: Values of the first method on n images in random order, [K, n]; NaN where there is
            none.
        second: Values of the second method on the same images, [K, n].
        score: The score.
        looks: Numbers of images at which the difference is looked at, [L].
        population: Number of images of the dataset.

    Returns:
        The estimate of the score of the first method minus that of the second, or the opposite if
        lower scores are better; None if fewer than two images have values of both.
    """
    known = np.logical_not(np.isnan(first + second).any(axis=0))
    found = _looks(known, looks, population)
    if found is None:
        return None
    one, other = (first, second) if score.sign > 0 else (second, first)
    if _is_bounded(score, np.stack([one, other])):
        low, high = score.metric.value_range
        gaps = one[0, known] - other[0, known]
        return BettingEstimate(
            gaps, _populations(known, population), (low - high, high - low), found
        )
    estimates = paired_prefix_estimates(
        one[:, known],
        other[:, known],
        score.from_means,
        found.counts,
        _spans(score, np.concatenate([first, second], axis=1)),
    )
    return AsymptoticEstimate(estimates, found)


def _looks(known: NDArray[np.bool_], looks: NDArray[np.int64], population: int) -> Looks | None:
    """Return the looks at which at least two images have a value; None if there are none."""
    drawn = looks[looks <= len(known)]
    counts = np.cumsum(known, dtype=np.int64)[drawn - 1]
    used = counts >= _FEWEST
    if not used.any():
        return None
    populations = (population - drawn + counts).astype(np.float64)
    return Looks(counts[used], populations[used])


def _populations(known: NDArray[np.bool_], population: int) -> Float64Array:
    """Return the size of the dataset without the images without a value so far, at each value."""
    found: Float64Array = (population - np.cumsum(~known))[known].astype(np.float64)
    return found


def _spans(score: Score, values: Float64Array) -> Float64Array:
    """Return how much two values of each column can differ; as far as seen if without bounds."""
    seen = np.nanmax(values, axis=1) - np.nanmin(values, axis=1)
    possible = np.array([high - low for low, high in score.column_ranges])
    found: Float64Array = np.where(np.isfinite(possible), possible, seen)
    return found


def _is_bounded(score: Score, values: Float64Array) -> bool:
    """Whether the score is a mean of values that indeed lie within its bounds."""
    low, high = score.metric.value_range
    within = bool(low <= np.nanmin(values) and np.nanmax(values) <= high)
    return score.is_bounded_mean and within
