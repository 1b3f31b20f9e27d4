"""Saliency: the plain gradient of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Evidence, Floats, Method, Need
from adcc_onnx.cams.method_registry import method


@method
@dataclass(frozen=True)
class Saliency(Method):
    """max over the colour channels of |d y_c / d x|, a pixel each.

    Simonyan, Vedaldi and Zisserman, ICLR Workshops 2014, https://arxiv.org/abs/1312.6034.
    """

    name = "saliency"
    family = "pixel"
    summary = "the size of the image's own gradient"
    cost = "1 with full backward"
    needs = frozenset({Need.IMAGE_GRADIENT})

    def raw_maps(self, evidence: Evidence) -> Floats:
        return largest(evidence.image_gradient)


def largest(gradients: Floats) -> Floats:
    """The largest absolute value over the colour channels, [N, H, W]."""
    sizes: Floats = np.abs(gradients).max(axis=1)
    return sizes
