"""Sparseness: whether few pixels hold most of the map."""

from __future__ import annotations

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, maps


class Sparseness(Metric):
    """The Gini index of the map: 0 where all pixels are equal, towards 1 where one holds all.

    sum_i (2 i - n - 1) v_i / (n sum_i v_i), v_1 <= ... <= v_n the pixels; 0 for a map of zeros.
    Chalasani et al., ICML 2020, https://arxiv.org/abs/1810.06583.
    """

    name = "sparseness"
    title = "Sparseness"
    summary = "the Gini index of the map"
    higher_is_better = True

    def score(self, explained: Explained) -> Float64Array:
        heatmaps = maps(explained)
        values = np.sort(heatmaps.reshape(len(heatmaps), -1), axis=1).astype(np.float64)
        size = values.shape[1]
        places = 2.0 * np.arange(1, size + 1) - size - 1
        sums = size * values.sum(axis=1)
        gini: Float64Array = np.divide(
            values @ places, sums, out=np.zeros_like(sums), where=sums > 0
        )
        return gini
