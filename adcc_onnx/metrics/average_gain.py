"""Average gain: how much of the missing probability the explanation map wins."""

from __future__ import annotations

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricNeed, masked_probability


class AverageGain(Metric):
    """max(0, p(e) - p(x)) / (1 - p(x)), and 0 where p(x) = 1.

    Zhang et al., Opti-CAM, CVIU 2024, https://arxiv.org/abs/2301.07002.
    """

    name = "average_gain"
    title = "Avg gain"
    summary = "how much of the missing probability the explanation map wins"
    higher_is_better = True
    needs = frozenset({MetricNeed.MASKED_SCORE})

    def score(self, explained: Explained) -> Float64Array:
        p = explained.probability
        won = np.maximum(0.0, masked_probability(explained) - p)
        return np.divide(won, 1.0 - p, out=np.zeros_like(won), where=p < 1)
