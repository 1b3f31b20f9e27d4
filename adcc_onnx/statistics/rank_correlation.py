"""Whether different metrics rank methods alike."""

from __future__ import annotations

import numpy as np

from adcc_onnx.statistics.resampling import RealArray


def kendall_tau_matrix(scores: RealArray) -> RealArray:
    """Kendall's tau-b between the rankings that rows give columns, [m, m].

    Args:
        scores: of m metrics for M methods, [m, M], all with the same end the better one; a method
            without a value (NaN) does not count for that pair of metrics.

    Returns:
        1 for the same order, -1 for the reverse; NaN where a metric cannot rank (fewer than two
        methods, or all equal). Kendall, The treatment of ties, Biometrika 33, 1945.
    """
    from scipy.stats import kendalltau

    count = len(scores)
    taus = np.full((count, count), np.nan)
    for i in range(count):
        for j in range(i, count):
            both = ~np.isnan(scores[i]) & ~np.isnan(scores[j])
            if both.sum() > 1:
                taus[i, j] = taus[j, i] = kendalltau(scores[i, both], scores[j, both]).statistic
    return taus
