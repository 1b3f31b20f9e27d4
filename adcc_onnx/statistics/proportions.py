"""Proportions: Wilson's confidence interval, and McNemar's test of paired proportions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.statistics.intervals import Interval


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Compute Wilson's score interval of a proportion.

    Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22(158),
    1927.

    Args:
        successes: Number of successes.
        trials: Number of trials, at least 1.
        confidence: Confidence level, in (0, 1).

    Returns:
        Lower and upper end.

    Example:
        >>> low, high = wilson_interval(85, 100)
        >>> round(low, 3), round(high, 3)
        (0.767, 0.907)
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2.0))
    p, shrink = successes / trials, 1.0 + z * z / trials
    center = (p + z * z / (2.0 * trials)) / shrink
    half = z / shrink * math.sqrt(p * (1.0 - p) / trials + z * z / (4.0 * trials * trials))
    return max(0.0, center - half), min(1.0, center + half)


def mcnemar_p_value(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Test whether two classifiers are right equally often on the same images.

    The exact two-sided test: among the images on which one is right and the other wrong, each is
    right with probability 1/2 (McNemar, Psychometrika 12, 1947).

    Args:
        first: Whether the first classifier is right, [n].
        second: Whether the second classifier is right, [n].

    Returns:
        The p-value; 1 where the two never differ.

    Example:
        >>> right = np.ones(10, bool)
        >>> round(mcnemar_p_value(right, ~right), 5), mcnemar_p_value(right, right)
        (0.00195, 1.0)
    """
    from scipy.special import bdtr

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    if differing == 0:
        return 1.0
    return min(1.0, 2.0 * float(bdtr(min(only_first, only_second), differing, 0.5)))
