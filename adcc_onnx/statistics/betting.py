"""Exact confidence sequences for the mean of bounded values, by betting.

A gambler bets on each image that its value exceeds the mean of the remaining images under the
hypothesis. If the hypothesis is true, the capital is a supermartingale, and it ever reaches
1 / alpha with a probability of at most alpha. This holds for any number of images.

* Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, Journal of the
  Royal Statistical Society B 86(1), 2024 (sections 4 and 5: betting without replacement; the
  capital is the mean over several fixed bets).
"""

from __future__ import annotations

import math

import numpy as np

from adcc_onnx.statistics.intervals import Interval
from adcc_onnx.statistics.resampling import RealArray

# Fractions of the largest bet that cannot lose everything. Small bets find small differences.
_BETS = np.geomspace(0.01, 0.99, 12)
_BISECTIONS = 40
_ROUNDING = 1e-12


def log_betting_evidence(
    values: RealArray, null: float, value_range: tuple[float, float], populations: RealArray
) -> RealArray:
    """Compute the logarithm of e-values against the hypothesis that a mean is at most `null`.

    Args:
        values: Values of n images in random order without replacement, [..., n].
        null: Largest mean under the hypothesis.
        value_range: Smallest and largest possible value.
        populations: Number of images of the dataset as known at each image, [n].

    Returns:
        The logarithms after each image, [..., n]. They are infinite where the remaining images
        cannot make the mean as small as `null`.

    Example:
        >>> values, populations = np.full(100, 0.6), np.full(100, 1000.0)
        >>> found = log_betting_evidence(values, 0.5, (0.0, 1.0), populations)
        >>> found[[9, 99]].round(1).tolist()
        [0.6, 16.6]
    """
    low, high = value_range
    gains = (values - low) / (high - low)
    total, drawn = populations * (null - low) / (high - low), np.arange(values.shape[-1])
    after = np.cumsum(gains, axis=-1)
    # The mean of the images that are left, if the hypothesis is just true.
    expected = (total - (after - gains)) / (populations - drawn)
    impossible = np.maximum.accumulate(after - total > _ROUNDING * populations, axis=-1)
    ratio = np.divide(gains, expected, out=np.ones_like(gains), where=expected > 0)
    # A mean above 1 cannot be exceeded: no bet.
    ratio = np.where(expected >= 1.0, 1.0, ratio)
    wins = np.log1p(_BETS[:, None] * (ratio[..., None, :] - 1.0))
    capital = np.logaddexp.reduce(np.cumsum(wins, axis=-1), axis=-2) - math.log(len(_BETS))
    return np.where(impossible, np.inf, capital)


def betting_interval(
    values: RealArray, alpha: float, value_range: tuple[float, float], populations: RealArray
) -> Interval:
    """Compute the confidence sequence of a mean at its last image.

    Args:
        values: Values of n images in random order without replacement, [n].
        alpha: Error probability, in (0, 1).
        value_range: Smallest and largest possible value.
        populations: Number of images of the dataset as known at each image, [n].

    Returns:
        The lower and the upper end; the means between them are not excluded by any image so far.

    Example:
        >>> values = np.random.default_rng(0).beta(6, 4, 200)
        >>> low, high = betting_interval(values, 0.05, (0.0, 1.0), np.full(200, 1000.0))
        >>> round(low, 2), round(high, 2)
        (0.55, 0.61)
    """
    low, high = value_range
    lower = _lower_end(values, alpha / 2.0, value_range, populations)
    upper = -_lower_end(-values, alpha / 2.0, (-high, -low), populations)
    return lower, upper


def _lower_end(
    values: RealArray, alpha: float, value_range: tuple[float, float], populations: RealArray
) -> float:
    """Return the largest mean that the values exclude from below."""
    excluded, kept = value_range
    for _ in range(_BISECTIONS):
        middle = (excluded + kept) / 2.0
        evidence = log_betting_evidence(values, middle, value_range, populations).max()
        if evidence >= -math.log(alpha):
            excluded = middle
        else:
            kept = middle
    return excluded
