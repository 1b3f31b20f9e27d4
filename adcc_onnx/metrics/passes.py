"""Passes: what a map costs."""

from __future__ import annotations

import math

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric


class Passes(Metric):
    """Runs of the model on an image that its map takes; one with its backward half counts as one.

    The first run, which all methods of an evaluation share, is counted for each of them.
    """

    name = "passes"
    title = "Passes"
    summary = "runs of the model that a map takes"
    higher_is_better = False
    value_range = (0.0, math.inf)

    def score(self, explained: Explained) -> Float64Array:
        if explained.passes is None:
            return np.full(len(explained.probability), np.nan)
        return explained.passes.astype(np.float64)
