"""SS-CAM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import MethodContext
from adcc_onnx.cams.method_registry import method
from adcc_onnx.cams.noise import check_noise
from adcc_onnx.cams.scorecam import ScoreCAM
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class SSCAM(ScoreCAM):
    """Score-CAM whose w_k averages the score over n noisy copies of the normalized mask.

    Noise from N(0, sigma) is added at the layer's resolution, before the mask is upsampled.
    Naidu and Michael, 2020, https://arxiv.org/abs/2006.14255.

    Attributes:
        n: noisy copies, at least 1; each costs as much as Score-CAM.
        sigma: the noise's standard deviation, at least 0.
        scores, weights: as in Score-CAM.

    Raises:
        OptionError: n or sigma is out of its range.
    """

    name = "sscam"
    summary = "Score-CAM with its masks' scores averaged over noise"
    cost = "1 + n live channels"

    n: int = 35
    sigma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_noise(self.name, self.n, self.sigma)

    def mask_scores(
        self, context: MethodContext, image: int, masks: Float32Array
    ) -> NDArray[np.float64]:
        source = context.rngs()[image]
        total = np.zeros(len(masks))
        for _ in range(self.n):
            noise = source.standard_normal(masks.shape, np.float32) * np.float32(self.sigma)
            total += super().mask_scores(context, image, masks + noise)
        return total / self.n
