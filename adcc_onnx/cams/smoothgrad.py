"""SmoothGrad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.cams.noise import check_noise
from adcc_onnx.cams.saliency import largest
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class SmoothGrad(Method):
    """Saliency of the gradient averaged over n noisy copies of the image.

    Smilkov et al., 2017, https://arxiv.org/abs/1706.03825.

    Attributes:
        n: the number of noisy copies, at least 1.
        sigma: the noise's standard deviation as a share of (max x - min x), at least 0.

    Raises:
        OptionError: n or sigma is out of its range.
    """

    name = "smoothgrad"
    family = "pixel"
    summary = "the size of the image's gradient, averaged over noise"
    cost = "n with full backward"
    needs = frozenset({Need.IMAGE_GRADIENTS})

    n: int = 25
    sigma: float = 0.15

    def __post_init__(self) -> None:
        check_noise(self.name, self.n, self.sigma)

    def raw_maps(self, context: MethodContext) -> Float32Array:
        total = np.zeros(context.images.shape)
        for noise in context.noise(self.n, self.sigma):
            total += context.image_gradients(context.images + noise)
        return largest((total / self.n).astype(np.float32))
