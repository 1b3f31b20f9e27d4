"""Fake-CAM, the control that explains nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext
from adcc_onnx.cams.method_registry import method
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class FakeCAM(Method):
    """Ones everywhere but the top-left pixel, which is 0, at the image's H x W.

    It drops almost no score, so that the average drop alone would crown it.
    Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252.
    """

    name = "fakecam"
    family = "control"
    summary = "the whole image but one pixel: what average drop alone rewards"
    cost = "0"
    needs = frozenset()

    def raw_maps(self, context: MethodContext) -> Float32Array:
        count, _, height, width = context.images.shape
        maps = np.ones((count, height, width), np.float32)
        maps[:, 0, 0] = 0.0
        return maps
