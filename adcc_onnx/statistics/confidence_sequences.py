"""Asymptotic confidence sequences: intervals and tests that hold at every number of images at once.

A run may therefore look at its results as often as it likes, and stop when they are clear. Images
are drawn in random order without replacement from a dataset of N images, whose own score is
estimated: after all N images it is known exactly.

* Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic
  confidence sequences, Annals of Statistics 52(6), 2024 (the Gaussian mixture boundary).
* Waudby-Smith and Ramdas, Confidence sequences for sampling without replacement, NeurIPS 2020.
* Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence
  sequences, Annals of Statistics 49(2), 2021 (the one-sided mixture, proposition 6).

Without replacement, n images count as n N / (N - n): with S_n the sum of n deviations from the
mean, S_n / (1 - n / N) is a martingale whose variance grows in these steps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from adcc_onnx.statistics.resampling import RealArray

# The boundary is tightest at this level for a difference that is found after 100 images.
_TUNED_ALPHA, _TUNED_COUNT = 0.05, 100


def tuned_precision(alpha: float = _TUNED_ALPHA, count: float = _TUNED_COUNT) -> float:
    """Return the precision rho^2 that makes the boundary tightest after a number of images.

    Args:
        alpha: Error probability of a two-sided sequence, in (0, 1).
        count: Number of images.

    Returns:
        The precision (Waudby-Smith et al. 2024, appendix B.2).

    Example:
        >>> round(tuned_precision(0.05, 100), 4)
        0.0794
    """
    log_term = -2.0 * math.log(alpha)
    return (log_term + math.log(log_term + 1.0)) / count


PRECISION = tuned_precision()


def effective_counts(counts: ArrayLike, population: ArrayLike) -> RealArray:
    """Return as how many images drawn with replacement n images without replacement count.

    Args:
        counts: Numbers of images n, at most N.
        population: Number of images N of the dataset.

    Returns:
        n N / (N - n); infinite where n = N.

    Example:
        >>> effective_counts([50, 100], 100).tolist()
        [100.0, inf]
    """
    n, whole = np.broadcast_arrays(np.asarray(counts, np.float64), np.asarray(population))
    left = whole - n
    found: RealArray = np.divide(n * whole, left, out=np.full(n.shape, np.inf), where=left > 0)
    return found


def log_evidence(standardized: ArrayLike, effective: ArrayLike) -> RealArray:
    """Compute the logarithm of e-values against the hypothesis that a statistic is at most 0.

    Under the hypothesis, the probability that the e-value ever reaches 1 / alpha is at most alpha
    (asymptotically). 1 / e-value is an anytime-valid p-value.

    Args:
        standardized: The estimate over the standard deviation of one image's contribution.
        effective: Effective number of images; see `effective_counts`.

    Returns:
        The logarithms; infinite where the estimate is exact and positive.

    Example:
        >>> log_evidence([0.0, 0.5], 100.0).round(2).tolist()
        [-1.1, 10.7]
    """
    from scipy.special import log_ndtr

    z, n = np.broadcast_arrays(
        np.asarray(standardized, np.float64), np.asarray(effective, np.float64)
    )
    found = np.where(z > 0, np.inf, -np.inf)
    inexact = np.isfinite(n) & np.isfinite(z)
    z, n = z[inexact], n[inexact]
    scale = n * PRECISION + 1.0
    power = z * n * np.sqrt(PRECISION / scale)
    found[inexact] = math.log(2.0) - 0.5 * np.log(scale) + 0.5 * power**2 + log_ndtr(power)
    return found


def two_sided_radius(effective: ArrayLike, alpha: float) -> RealArray:
    """Compute the radius of a two-sided confidence sequence in standard deviations.

    Args:
        effective: Effective numbers of images.
        alpha: Error probability, in (0, 1).

    Returns:
        The radii; 0 where all images are known.

    Example:
        >>> two_sided_radius([100.0, np.inf], 0.05).round(3).tolist()
        [0.304, 0.0]
    """
    n = np.asarray(effective, np.float64)
    finite = np.where(np.isfinite(n), n, 1.0)
    return np.where(np.isfinite(n), _mixture_radius(finite, alpha), 0.0)


def _mixture_radius(n: RealArray, alpha: float) -> RealArray:
    scale = n * PRECISION + 1.0
    found: RealArray = np.sqrt(
        np.maximum(0.0, 2.0 * scale * np.log(np.sqrt(scale) / alpha) / (n**2 * PRECISION))
    )
    return found
