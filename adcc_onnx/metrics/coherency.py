"""Coherency: whether the explanation map, explained, gives the same map again."""

from __future__ import annotations

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricNeed


class Coherency(Metric):
    """(1 + pearson(CAM(e), CAM(x))) / 2 over the H W pixels; 0 where a map has no variance.

    Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252; the correlation is
    brought from [-1, 1] to [0, 1] as the paper does.
    """

    name = "coherency"
    title = "Coherency"
    summary = "whether the map of the explanation map is the same map"
    higher_is_better = True
    needs = frozenset({MetricNeed.SECOND_MAP})

    def score(self, explained: Explained) -> Float64Array:
        return (1.0 + explained.agreement[0]) / 2.0
