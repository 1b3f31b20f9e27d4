"""Scores and differences of scores after several numbers of images of a random order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.ordered_values import OrderedValues
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.statistics.intervals import Interval
from adcc_onnx.statistics.prefix_estimates import (
    contrast_prefix_estimates,
    paired_prefix_estimates,
    prefix_estimates,
)
from adcc_onnx.statistics.sequential_estimates import (
    AnchoredEstimate,
    AsymptoticEstimate,
    BettingEstimate,
    Looks,
    SequentialEstimate,
)

Known = NDArray[np.bool_]

_FEWEST = 2  # images with a value, from which a variance is estimated


@dataclass(frozen=True)
class Sample:
    """The first n images of a random order.

    Attributes:
        score: The score that is looked at.
        looks: Numbers of images at which it is looked at, [L].
        population: Number of images of the dataset.
        level: Error probability that is left to a correction by images in float32.
    """

    score: Score
    looks: NDArray[np.int64]
    population: int
    level: float = 0.0

    def of_method(self, values: OrderedValues, count: int) -> SequentialEstimate | None:
        """Estimate the score of a method.

        Args:
            values: Values of the method.
            count: Number of images n.

        Returns:
            The estimate, exact for means of bounded values and asymptotic for others; None if fewer
            than two images have a value.
        """
        cheap = values.columns(self.score.columns, count)
        known = np.logical_not(np.isnan(cheap).any(axis=0))
        looks = self._looks(known)
        if looks is None:
            return None
        found: AsymptoticEstimate | BettingEstimate
        if _is_bounded(self.score, cheap):
            found = self._betting(cheap[0], known, self.score.metric.value_range, looks)
        else:
            spans = _spans(self.score, cheap)
            found = AsymptoticEstimate(
                prefix_estimates(cheap[:, known], self.score.from_means, looks.counts, spans), looks
            )
        exact = values.exact_columns(self.score.columns, count)
        return self._corrected(found, [(1.0, exact, cheap)])

    def difference(
        self, first: OrderedValues, second: OrderedValues, count: int
    ) -> SequentialEstimate | None:
        """Estimate how much better the first of two methods is.

        Args:
            first: Values of the first method.
            second: Values of the second method.
            count: Number of images n that both were computed on.

        Returns:
            The estimate of the score of the first method minus that of the second, or the opposite
            if lower scores are better; None if fewer than two images have values of both.
        """
        pair = (first, second) if self.score.sign > 0 else (second, first)
        one, other = (values.columns(self.score.columns, count) for values in pair)
        known = np.logical_not(np.isnan(one + other).any(axis=0))
        looks = self._looks(known)
        if looks is None:
            return None
        both = np.concatenate([one, other], axis=1)
        found: AsymptoticEstimate | BettingEstimate
        if _is_bounded(self.score, both):
            low, high = self.score.metric.value_range
            found = self._betting(one[0] - other[0], known, (low - high, high - low), looks)
        else:
            parts = one[:, known], other[:, known]
            spans = _spans(self.score, both)
            found = AsymptoticEstimate(
                paired_prefix_estimates(*parts, self.score.from_means, looks.counts, spans), looks
            )
        exact = [values.exact_columns(self.score.columns, count) for values in pair]
        return self._corrected(found, [(1.0, exact[0], one), (-1.0, exact[1], other)])

    def _betting(
        self, values: Float64Array, known: Known, value_range: Interval, looks: Looks
    ) -> BettingEstimate:
        # The size of the dataset without the images without a value so far, at each value.
        populations = (self.population - np.cumsum(~known))[known].astype(np.float64)
        return BettingEstimate(values[known], populations, value_range, looks)

    def _corrected(
        self,
        cheap: AsymptoticEstimate | BettingEstimate,
        parts: Sequence[tuple[float, Float64Array | None, Float64Array]],
    ) -> SequentialEstimate | None:
        """Correct an estimate by the images that also have values in float32.

        Args:
            cheap: The estimate.
            parts: The weight of each method, and its values in float32 and in the cheap precision,
                [K, n] each.

        Returns:
            The estimate itself if the run has no anchors; None if fewer than two of them have
            values.
        """
        contrasts = []
        for weight, exact, own in parts:
            if exact is None:
                return cheap
            contrasts += [(weight, exact), (-weight, own)]
        stacked = np.stack([values for _, values in contrasts])
        known = np.logical_not(np.isnan(stacked).any(axis=(0, 1)))
        looks = self._looks(known)
        if looks is None:
            return None
        spans = _spans(self.score, np.concatenate(list(stacked), axis=1))
        estimates = contrast_prefix_estimates(
            [(weight, values[:, known]) for weight, values in contrasts],
            self.score.from_means,
            looks.counts,
            spans,
        )
        # The other images could be anchors, too: they do not shrink the dataset.
        whole = replace(looks, populations=np.full(len(looks.counts), float(self.population)))
        return AnchoredEstimate(cheap, AsymptoticEstimate(estimates, whole), self.level)

    def _looks(self, known: Known) -> Looks | None:
        """Return the looks at which at least two images have a value; None if there are none."""
        drawn = self.looks[self.looks <= len(known)]
        counts = np.cumsum(known, dtype=np.int64)[drawn - 1]
        used = counts >= _FEWEST
        if not used.any():
            return None
        populations = (self.population - drawn + counts).astype(np.float64)
        return Looks(counts[used], populations[used])


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
