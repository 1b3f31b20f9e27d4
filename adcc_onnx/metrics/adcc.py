"""ADCC: average drop, coherency and complexity in one number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.average_drop import AverageDrop
from adcc_onnx.metrics.coherency import Coherency
from adcc_onnx.metrics.complexity import Complexity
from adcc_onnx.metrics.metric import CompositeMetric


class ADCC(CompositeMetric):
    """3 / (1/coherency + 1/(1 - complexity) + 1/(1 - drop)), and 0 where a term is 0.

    Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252. The published tables
    take the harmonic mean of the three means over the data set: that is the figure `adcc`. The
    mean of the images' own values is `adcc_per_image`.
    """

    name = "adcc"
    title = "ADCC"
    summary = "average drop, coherency and complexity in one number"
    higher_is_better = True
    parts = (AverageDrop(), Coherency(), Complexity())
    needs = frozenset().union(*(part.needs for part in parts))

    def combine(self, values: Mapping[str, Float64Array]) -> Float64Array:
        return harmonic_mean(
            values[Coherency.name],
            1.0 - values[Complexity.name],
            1.0 - values[AverageDrop.name],
        )

    def aggregate(self, means: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
        return {self.name: self.combine(means), f"{self.name}_per_image": means[self.name]}


def harmonic_mean(*terms: Float64Array) -> Float64Array:
    """The harmonic mean of numbers >= 0, element by element; 0 where one of them is 0."""
    least = np.minimum.reduce(terms)
    # In units of the least term no reciprocal overflows, however small that term is.
    parts = [np.divide(least, t, out=np.ones_like(t), where=t > 0) for t in terms]
    mean: Float64Array = len(terms) * least / np.add.reduce(parts)
    return mean
