"""Complexity: how much of the image the map keeps."""

from __future__ import annotations

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.kernels.similarity import mean_abs
from adcc_onnx.metrics.metric import Explained, Metric, maps


class Complexity(Metric):
    """sum |M| / (H W): the L1 norm of the map, as a share of the image.

    Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252.
    """

    name = "complexity"
    title = "Complexity"
    summary = "how much of the image the map keeps"
    higher_is_better = False

    def score(self, explained: Explained) -> Float64Array:
        if explained.second_maps is not None:
            return explained.agreement[1]  # read off with the coherency
        return mean_abs(maps(explained))
