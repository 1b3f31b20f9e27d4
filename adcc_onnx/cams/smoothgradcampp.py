"""Smooth Grad-CAM++."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import MethodContext, Need, WeightedMethod
from adcc_onnx.cams.method_registry import method
from adcc_onnx.cams.noise import check_noise
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.gradient_maps import GradientMoments, smoothgradcam_pp_weights


@method
@dataclass(frozen=True)
class SmoothGradCAMPP(WeightedMethod):
    """Grad-CAM++ whose g, g^2 and g^3 are averages over noisy copies of the image.

    A, and with it S_k, is that of the clean image.
    Omeiza et al., 2019, https://arxiv.org/abs/1908.01224.

    Attributes:
        n: the number of noisy copies, at least 1. Each costs a forward and a backward pass.
        sigma: the noise's standard deviation as a share of (max x - min x), at least 0.
            The demo of the ADCC paper's authors has n=4, sigma=0.3.

    Raises:
        OptionError: n or sigma is out of its range.
    """

    name = "smoothgradcam++"
    family = "gradient"
    summary = "Grad-CAM++ on gradients averaged over noisy copies of the image"
    cost = "1 + n with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.NOISY_GRADIENTS})

    n: int = 25
    sigma: float = 0.15

    def __post_init__(self) -> None:
        check_noise(self.name, self.n, self.sigma)

    def weights(self, context: MethodContext) -> Float32Array:
        return smoothgradcam_pp_weights(context.activations, self._averages(context))

    def _averages(self, context: MethodContext) -> GradientMoments:
        first, second, third = (np.zeros(context.activations.shape) for _ in range(3))
        for gradients in context.noisy_gradients(self.n, self.sigma):
            power = gradients.astype(np.float64)
            first += power
            power *= gradients
            second += power
            power *= gradients
            third += power
        for total in (first, second, third):
            total /= self.n
        return first, second, third
