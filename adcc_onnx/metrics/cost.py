"""The cost of a map: model passes per image."""

from __future__ import annotations

import math

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, Metric


class Passes(Metric):
    """Model passes per image that a map takes; a forward and backward pass counts as one.

    The first pass, which all methods of an evaluation share, is counted for each of them. The
    value depends on this implementation and comes from no paper.

    Example:
        >>> Passes().score(ExplainedBatch(np.ones(1), passes=np.array([26])))
        array([26.])
    """

    name = "passes"
    title = "Passes"
    summary = "number of model passes needed for a map"
    limits = (
        "It counts model passes, not time: passes behind the layer are cheaper than whole ones."
    )
    higher_is_better = False
    value_range = (0.0, math.inf)

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The number of passes, [N]; NaN if the map was not computed by the model."""
        if explained.passes is None:
            return np.full(len(explained.probability), np.nan)
        return explained.passes.astype(np.float64)
