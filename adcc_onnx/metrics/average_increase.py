"""Average increase: how often the explanation map alone scores higher than the image."""

from __future__ import annotations

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricNeed, masked_probability


class AverageIncrease(Metric):
    """1 if p(x) < p(e), else 0.

    Chattopadhay et al., Grad-CAM++, WACV 2018, https://arxiv.org/abs/1710.11063.
    """

    name = "average_increase"
    title = "Avg increase"
    summary = "how often the explanation map is more probable than the image"
    higher_is_better = True
    needs = frozenset({MetricNeed.MASKED_SCORE})

    def score(self, explained: Explained) -> Float64Array:
        return (explained.probability < masked_probability(explained)).astype(np.float64)
