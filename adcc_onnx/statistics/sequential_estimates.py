"""Estimates that are looked at after several numbers of images: asymptotic ones and exact ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.statistics.betting import betting_interval, log_betting_evidence
from adcc_onnx.statistics.confidence_sequences import (
    effective_counts,
    log_evidence,
    two_sided_radius,
)
from adcc_onnx.statistics.intervals import Interval
from adcc_onnx.statistics.prefix_estimates import PrefixEstimates
from adcc_onnx.statistics.resampling import RealArray

# Share of the error probability of a corrected estimate that is left to the correction.
CORRECTION_SHARE = 0.1


@dataclass(frozen=True)
class Looks:
    """The looks at a growing sample without replacement, some of whose images have no value.

    Attributes:
        counts: Number of images with a value at each look, [L], at least 2.
        populations: Number of images of the dataset, without those known to have no value, [L].
    """

    counts: NDArray[np.int64]
    populations: RealArray


class SequentialEstimate(Protocol):
    """An estimate after L numbers of images."""

    def evidence(self, null: float | RealArray) -> RealArray:
        """Return the logarithms of e-values against a value of at most `null`, [L].

        Args:
            null: The largest value under the hypothesis; one value, or one per look.
        """

    def interval(self, alpha: float) -> tuple[float, Interval]:
        """Return the estimate at the last look and its interval.

        Args:
            alpha: Error probability of the sequence of intervals.
        """

    def negated(self) -> SequentialEstimate:
        """Return the estimate of the negative value."""


@dataclass(frozen=True)
class AsymptoticEstimate:
    """A function of means, by an asymptotic confidence sequence.

    Attributes:
        estimates: The estimates at the looks.
        looks: The looks.

    Example:
        >>> from adcc_onnx.statistics.prefix_estimates import prefix_estimates
        >>> values = np.random.default_rng(0).beta(6, 4, (1, 200))
        >>> looks = Looks(np.array([100, 200]), np.full(2, 1000.0))
        >>> found = prefix_estimates(values, lambda m: m[0], looks.counts, np.ones(1))
        >>> point, (low, high) = AsymptoticEstimate(found, looks).interval(0.05)
        >>> round(point, 2), round(low, 2), round(high, 2)
        (0.58, 0.55, 0.61)
    """

    estimates: PrefixEstimates
    looks: Looks

    def evidence(self, null: float | RealArray) -> RealArray:
        """Return the logarithms of e-values against a value of at most `null`, [L]."""
        excess, deviation = self.estimates.point - null, self.estimates.deviation
        certain = np.where(excess > 0, np.inf, np.where(excess < 0, -np.inf, 0.0))
        z = np.divide(excess, deviation, out=certain, where=deviation > 0)
        return log_evidence(z, effective_counts(self.looks.counts, self.looks.populations))

    def lower_ends(self, alpha: float) -> RealArray:
        """Return the lower end of the interval at each look, [L].

        Args:
            alpha: Error probability of the sequence of intervals.
        """
        effective = effective_counts(self.looks.counts, self.looks.populations)
        found: RealArray = self.estimates.point - self.estimates.deviation * two_sided_radius(
            effective, alpha
        )
        return found

    def interval(self, alpha: float) -> tuple[float, Interval]:
        """Return the estimate at the last look and its interval."""
        point, low = float(self.estimates.point[-1]), float(self.lower_ends(alpha)[-1])
        return point, (low, 2.0 * point - low)

    def negated(self) -> AsymptoticEstimate:
        """Return the estimate of the negative value."""
        return replace(self, estimates=replace(self.estimates, point=-self.estimates.point))


@dataclass(frozen=True)
class BettingEstimate:
    """A mean of bounded values, by an exact confidence sequence.

    Attributes:
        values: Values of n images in random order, [n].
        populations: Number of images of the dataset as known at each image, [n].
        value_range: Smallest and largest possible value.
        looks: The looks.

    Example:
        >>> values = np.random.default_rng(0).beta(6, 4, 200)
        >>> looks = Looks(np.array([100, 200]), np.full(2, 1000.0))
        >>> found = BettingEstimate(values, np.full(200, 1000.0), (0.0, 1.0), looks)
        >>> point, (low, high) = found.interval(0.05)
        >>> round(point, 2), round(low, 2), round(high, 2)
        (0.58, 0.55, 0.61)
    """

    values: RealArray
    populations: RealArray
    value_range: tuple[float, float]
    looks: Looks

    def evidence(self, null: float | RealArray) -> RealArray:
        """Return the logarithms of e-values against a mean of at most `null`, [L]."""
        nulls = np.broadcast_to(null, self.looks.counts.shape)
        found = np.empty(nulls.shape)
        for one in np.unique(nulls):
            evidence = log_betting_evidence(
                self.values, float(one), self.value_range, self.populations
            )
            found = np.where(nulls == one, evidence[self.looks.counts - 1], found)
        return found

    def interval(self, alpha: float) -> tuple[float, Interval]:
        """Return the mean at the last look and its interval."""
        last = int(self.looks.counts[-1])
        values, populations = self.values[:last], self.populations[:last]
        interval = betting_interval(values, alpha, self.value_range, populations)
        return float(values.mean()), interval

    def negated(self) -> BettingEstimate:
        """Return the estimate of the negative mean."""
        low, high = self.value_range
        return replace(self, values=-self.values, value_range=(-high, -low))


@dataclass(frozen=True)
class AnchoredEstimate:
    """An estimate from cheap values, with a correction from the images that also have exact values.

    Attributes:
        cheap: The estimate from cheap values.
        correction: The exact value minus the cheap one, at the same looks, or the last ones of
            them.
        level: Error probability that `evidence` allows for the correction.
    """

    cheap: AsymptoticEstimate | BettingEstimate
    correction: AsymptoticEstimate
    level: float

    def evidence(self, null: float | RealArray) -> RealArray:
        """Return the logarithms of e-values against an exact value of at most `null`, [L].

        Unless the correction lies below its interval, an exact value of at most `null` means a
        cheap value of at most `null` minus the lower end of the correction. A part of the error
        probability is left to the correction, so the evidence must be as much stronger.
        """
        lowest = np.full(len(self.cheap.looks.counts), -np.inf)
        known = self.correction.lower_ends(2.0 * self.level)
        lowest[len(lowest) - len(known) :] = known
        found: RealArray = self.cheap.evidence(null - lowest) + np.log(1.0 - CORRECTION_SHARE)
        return found

    def interval(self, alpha: float) -> tuple[float, Interval]:
        """Return the estimate at the last look and its interval."""
        point, (low, high) = self.cheap.interval((1.0 - CORRECTION_SHARE) * alpha)
        shift, (lowest, highest) = self.correction.interval(CORRECTION_SHARE * alpha)
        return point + shift, (low + lowest, high + highest)

    def negated(self) -> AnchoredEstimate:
        """Return the estimate of the negative value."""
        return replace(self, cheap=self.cheap.negated(), correction=self.correction.negated())
