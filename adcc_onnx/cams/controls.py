"""Controls: maps that do not depend on the model, against which methods are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import CONTROL_FAMILY, Method, MethodContext, Need
from adcc_onnx.kernels.arrays import Float32Array


@dataclass(frozen=True)
class FakeCAM(Method):
    """Ones at the image's H x W except for the top-left pixel, which is 0.

    The explanation map loses almost no score, so that average drop alone would rank it first.
    Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> FakeCAM().raw_maps(ArrayContext(images=np.zeros((1, 3, 2, 2), np.float32)))
        array([[[0., 1.],
                [1., 1.]]], dtype=float32)
    """

    name = "fakecam"
    title = "Fake-CAM"
    family = CONTROL_FAMILY
    summary = "control: the whole image except one pixel"
    cost = "0"
    needs = frozenset()

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """Ones with a zero at the top left, [N, H, W]."""
        count, _, height, width = context.images.shape
        maps = np.ones((count, height, width), np.float32)
        maps[:, 0, 0] = 0.0
        return maps


@dataclass(frozen=True)
class Random(Method):
    """Uniform noise at the layer's resolution; the explanation map gets other noise.

    pytorch-grad-cam's RandomCAM is another control: it draws the weights of the channels.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> context = ArrayContext(activations=np.zeros((1, 8, 7, 7), np.float32))
        >>> Random().raw_maps(context).shape
        (1, 7, 7)
    """

    name = "random"
    title = "Random"
    family = CONTROL_FAMILY
    summary = "control: uniform noise at the resolution of the layer"
    cost = "1"
    needs = frozenset({Need.ACTIVATIONS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """Uniform noise in [0, 1), [N, h, w]."""
        grid = context.activations.shape[2:]
        return np.stack([rng.random(grid, np.float32) for rng in context.rngs(resample=True)])


@dataclass(frozen=True)
class Center(Method):
    """A Gaussian around the center of the image with a standard deviation of H / 4.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> context = ArrayContext(images=np.zeros((1, 3, 3, 3), np.float32))
        >>> Center().raw_maps(context).round(2)
        array([[[0.17, 0.41, 0.17],
                [0.41, 1.  , 0.41],
                [0.17, 0.41, 0.17]]], dtype=float32)
    """

    name = "center"
    title = "Center"
    family = CONTROL_FAMILY
    summary = "control: a Gaussian in the center of the image"
    cost = "0"
    needs = frozenset()

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The same Gaussian for each image, [N, H, W]."""
        count, _, height, width = context.images.shape
        rows = np.arange(height) - (height - 1) / 2
        columns = np.arange(width) - (width - 1) / 2
        distance = rows[:, None] ** 2 + columns**2
        gaussian = np.exp(-distance / (2 * (height / 4) ** 2)).astype(np.float32)
        return np.repeat(gaussian[None], count, axis=0)
