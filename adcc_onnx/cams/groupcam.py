"""Group-CAM."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.gradient_maps import gradcam_weights
from adcc_onnx.kernels.min_max_normalize import min_max_normalize

_KERNEL, _SIGMA = 51, 50.0  # pixels


@method
@dataclass(frozen=True)
class GroupCAM(Method):
    """ReLU(sum_g w_g M_g), M_g the normalized map of a group of consecutive channels.

    The map of a group is ReLU(sum_k mean(g_k) A_k) over its channels. With b the image blurred by
    a 51 x 51 Gaussian of sigma 50, w_g = ReLU(p_c(x M_g + b (1 - M_g)) - p_c(b)). A group whose
    map is constant counts for nothing. (The authors' code also cuts the lower 70 % of each map.)
    Zhang, Rao and Yang, 2021, https://arxiv.org/abs/2103.13859.

    Attributes:
        groups: how many groups, at least 1.

    Raises:
        OptionError: groups is below 1.
    """

    name = "groupcam"
    family = "perturbation"
    summary = "groups of channels weighted by what they restore of a blurred image's score"
    cost = "1 with backward + groups"
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS, Need.BLENDED_SCORES})

    groups: int = 32

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise OptionError(f"groupcam: groups must be at least 1, not {self.groups}")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        weights = gradcam_weights(context.gradients)
        images = range(len(context.images))
        return np.stack([self._map_of(context, image, weights[image]) for image in images])

    def _map_of(self, context: MethodContext, image: int, weights: Float32Array) -> Float32Array:
        activations = context.activations[image]
        weighted = weights[:, None, None].astype(np.float64) * activations
        parts = np.array_split(weighted, min(self.groups, len(weighted)))
        raw = np.stack([np.maximum(part.sum(axis=0), 0) for part in parts]).astype(np.float32)
        masks, constant = min_max_normalize(raw)
        blurred = blur(context.images[image])
        shown = np.concatenate([np.zeros_like(masks[:1]), masks])
        p = context.probability(image, context.masked_scores(image, shown, blurred))
        gains = np.where(constant, 0.0, np.maximum(p[1:] - p[0], 0.0))
        found: Float32Array = np.tensordot(gains, masks, axes=1).astype(np.float32)
        return found


def blur(image: Float32Array) -> Float32Array:
    """The tensor [C, H, W] under a 51 x 51 Gaussian of sigma 50, mirrored at the borders."""
    # A mirror reaches no further than the picture.
    sides = [min(_KERNEL, 2 * side - 1) for side in (image.shape[2], image.shape[1])]
    planes = [
        cv2.GaussianBlur(plane, sides, _SIGMA, borderType=cv2.BORDER_REFLECT_101) for plane in image
    ]
    return np.stack(planes)
