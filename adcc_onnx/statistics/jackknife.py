"""The jackknife of an estimate from two independent samples.

The variance is the sum of those of the two samples, and the degrees of freedom of the sum are those
of Welch and Satterthwaite. A sample of few images has few degrees of freedom, so the quantiles are
those of Student's t distribution, not of the normal one.

* Efron and Tibshirani, An Introduction to the Bootstrap, Chapman & Hall 1993, chapter 11.
* Satterthwaite, An Approximate Distribution of Estimates of Variance Components, Biometrics
  Bulletin 2(6), 1946.
* MacKinnon and White, Some Heteroskedasticity-Consistent Covariance Matrix Estimators with Improved
  Finite Sample Properties, Journal of Econometrics 29(3), 1985 (the jackknife of a regression that
  is fitted again without each image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adcc_onnx.statistics.intervals import ROUNDING_TOLERANCE
from adcc_onnx.statistics.resampling import RealArray


@dataclass(frozen=True)
class Spread:
    """The standard errors of F statistics.

    Attributes:
        error: Standard errors, [F]; NaN where they are not known.
        freedom: Degrees of freedom of the standard errors, [F].
    """

    error: RealArray
    freedom: RealArray

    def half_widths(self, confidence: float) -> RealArray:
        """Return half the widths of confidence intervals, [F].

        Args:
            confidence: Confidence level, in (0, 1).
        """
        from scipy.special import stdtrit

        found: RealArray = self.error * stdtrit(self.freedom, (1.0 + confidence) / 2.0)
        return found

    def p_values(self, values: RealArray) -> RealArray:
        """Test whether statistics are 0.

        Args:
            values: The statistics, [F].

        Returns:
            The two-sided p-values, [F]; 1 where a statistic is always 0, or its standard error
            is not known.
        """
        from scipy.special import stdtr

        unknown, certain = np.isnan(self.error), self.error <= ROUNDING_TOLERANCE
        ratios = np.abs(values) / np.where(certain, 1.0, self.error)
        equal = np.abs(values) <= ROUNDING_TOLERANCE
        found: RealArray = np.where(
            certain, np.where(equal, 1.0, 0.0), 2.0 * stdtr(self.freedom, -ratios)
        )
        return np.where(unknown, 1.0, found)


def jackknife_spread(samples: Sequence[RealArray], fitted: Sequence[int]) -> Spread:
    """Estimate the standard errors of statistics of independent samples.

    Args:
        samples: For each sample, the statistics without each of its n images, [F, n].
        fitted: For each sample, the number of parameters that are fitted to it: 1 for a mean, and
            2 for a regression line.

    Returns:
        The standard errors; NaN where a sample has no more images than fitted parameters.

    Example:
        >>> values = np.random.default_rng(0).normal(size=50)
        >>> without = (values.sum() - values) / 49
        >>> found = jackknife_spread([without[None]], [1])
        >>> bool(np.isclose(found.error[0], values.std(ddof=1) / 50**0.5)), found.freedom
        (True, array([49.]))
    """
    variance = squares = np.zeros(len(samples[0]))
    for sample, parameters in zip(samples, fitted, strict=True):
        images = sample.shape[1]
        if not images:
            continue
        if images <= parameters:
            variance = np.full(len(sample), np.nan)
            break
        own = (images - 1) * np.var(sample, axis=1)
        variance, squares = variance + own, squares + own**2 / (images - parameters)
    freedom = np.divide(variance**2, squares, out=np.ones(len(variance)), where=squares > 0)
    return Spread(np.sqrt(variance), freedom)
