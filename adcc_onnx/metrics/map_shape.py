"""Metrics of the map alone: how concentrated or how even it is."""

from __future__ import annotations

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, Metric


class Sparseness(Metric):
    """The Gini index of the map: 0 if all pixels are equal, close to 1 if one holds everything.

    sum_i (2 i - n - 1) v_i / (n sum_i v_i), v_1 <= ... <= v_n the pixels; 0 for a map of zeros.
    Chalasani et al., ICML 2020, https://arxiv.org/abs/1810.06583.

    Example:
        >>> maps = np.array([[[1, 1, 1, 1]], [[0, 0, 1, 0]]], np.float32)
        >>> Sparseness().score(ExplainedBatch(np.ones(2), maps=maps))
        array([0.  , 0.75])
    """

    name = "sparseness"
    title = "Sparseness"
    summary = "Gini index of the map: how concentrated it is"
    limits = "A sparse map is easy to read, not necessarily faithful."
    higher_is_better = True

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The Gini index, [N]."""
        heatmaps = explained.full_size_maps
        values = np.sort(heatmaps.reshape(len(heatmaps), -1), axis=1).astype(np.float64)
        size = values.shape[1]
        places = 2.0 * np.arange(1, size + 1) - size - 1
        sums = size * values.sum(axis=1)
        gini: Float64Array = np.divide(
            values @ places, sums, out=np.zeros_like(sums), where=sums > 0
        )
        return gini


class Entropy(Metric):
    """-sum q log q / log(H W) with q = M / sum M.

    1 if all pixels are equal, 0 if one pixel holds everything; 1 for a map of zeros, which does
    not distinguish any pixel. Bhatt, Weller and Moura, IJCAI 2020,
    https://arxiv.org/abs/2005.00631, call the entropy without the divisor complexity.

    Example:
        >>> maps = np.array([[[1, 1, 1, 1]], [[0, 1, 1, 0]], [[0, 0, 1, 0]]], np.float32)
        >>> Entropy().score(ExplainedBatch(np.ones(3), maps=maps)) + 0
        array([1. , 0.5, 0. ])
    """

    name = "entropy"
    title = "Entropy"
    summary = "entropy of the map, relative to that of a uniform map"
    limits = "A concentrated map is easy to read, not necessarily faithful."
    higher_is_better = False

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The normalized entropy, [N]."""
        heatmaps = explained.full_size_maps
        values = heatmaps.reshape(len(heatmaps), -1).astype(np.float64)
        sums = values.sum(axis=1, keepdims=True)
        even = np.full_like(values, 1 / values.shape[1])
        shares = np.divide(values, sums, out=even, where=sums > 0)
        terms = shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        entropy: Float64Array = -terms.sum(axis=1) / np.log(values.shape[1])
        return entropy
