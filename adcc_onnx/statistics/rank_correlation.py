"""Rank correlation: how far metrics agree on the order of methods."""

from __future__ import annotations

import numpy as np

from adcc_onnx.statistics.resampling import RealArray


def kendall_tau_matrix(scores: RealArray) -> RealArray:
    """Compute Kendall's tau-b between the rankings of methods by each pair of metrics.

    Kendall, The Treatment of Ties in Ranking Problems, Biometrika 33, 1945.

    Args:
        scores: Scores of M methods by m metrics, [m, M], all oriented so that larger is better (or
            all so that smaller is). A method without a score (NaN) is left out of the pairs of
            metrics concerned.

    Returns:
        The symmetric matrix of tau-b, [m, m]: 1 for the same order, -1 for the reverse order, NaN
        where a metric ranks fewer than two methods or gives all of them the same score.

    Example:
        >>> kendall_tau_matrix(np.array([[0.1, 0.5, 0.9], [3.0, 2.0, 1.0]])).round(6).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
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
