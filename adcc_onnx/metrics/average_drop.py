"""Average drop: how much of the class's probability the explanation map loses."""

from __future__ import annotations

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricNeed, masked_probability


class AverageDrop(Metric):
    """max(0, p(x) - p(e)) / p(x), and 0 where p(x) = 0.

    Chattopadhay et al., Grad-CAM++, WACV 2018, https://arxiv.org/abs/1710.11063.
    """

    name = "average_drop"
    title = "Avg drop"
    summary = "how much of the class's probability the explanation map loses"
    higher_is_better = False
    needs = frozenset({MetricNeed.MASKED_SCORE})

    def score(self, explained: Explained) -> Float64Array:
        p = explained.probability
        lost = np.maximum(0.0, p - masked_probability(explained))
        return np.divide(lost, p, out=np.zeros_like(lost), where=p > 0)
