"""Input times gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Evidence, Floats, Method, Need
from adcc_onnx.cams.method_registry import method


@method
@dataclass(frozen=True)
class InputXGradient(Method):
    """|sum over the colour channels of x d y_c / d x|, a pixel each.

    Shrikumar et al., 2016, https://arxiv.org/abs/1605.01713.
    """

    name = "inputxgradient"
    family = "pixel"
    summary = "each pixel times its gradient"
    cost = "1 with full backward"
    needs = frozenset({Need.IMAGE_GRADIENT})

    def raw_maps(self, evidence: Evidence) -> Floats:
        return summed(evidence.images * evidence.image_gradient)


def summed(attributions: Floats) -> Floats:
    """The absolute value of the sum over the colour channels, [N, H, W]."""
    totals: Floats = np.abs(attributions.sum(axis=1))
    return totals
