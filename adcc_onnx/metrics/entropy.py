"""Entropy: how evenly the map is spread."""

from __future__ import annotations

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, maps


class Entropy(Metric):
    """-sum q log q / log(H W) with q = M / sum M.

    1 where all pixels are equal, 0 where one of them holds all. A map of zeros says nothing of any
    pixel: 1. Bhatt, Weller and Moura, IJCAI 2020, https://arxiv.org/abs/2005.00631, call the
    entropy, undivided, complexity.
    """

    name = "entropy"
    title = "Entropy"
    summary = "how evenly the map is spread, from one pixel to all"
    higher_is_better = False

    def score(self, explained: Explained) -> Float64Array:
        heatmaps = maps(explained)
        values = heatmaps.reshape(len(heatmaps), -1).astype(np.float64)
        sums = values.sum(axis=1, keepdims=True)
        even = np.full_like(values, 1 / values.shape[1])
        shares = np.divide(values, sums, out=even, where=sums > 0)
        terms = shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        entropy: Float64Array = -terms.sum(axis=1) / np.log(values.shape[1])
        return entropy
