"""Maps from the gradient of the input: one value per pixel, without a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need, check_noise
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array


@dataclass(frozen=True)
class Saliency(Method):
    """max over the color channels of |d y_c / d x|, at each pixel.

    Simonyan, Vedaldi and Zisserman, ICLR Workshops 2014, https://arxiv.org/abs/1312.6034.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> x = np.array([[[[1, 2]], [[3, 4]]]], np.float32)  # two color channels of 1 x 2
        >>> context = ArrayContext(x, input_gradient=lambda x: 2 * x)  # y_c = sum x^2
        >>> Saliency().raw_maps(context)
        array([[[6., 8.]]], dtype=float32)
    """

    name = "saliency"
    title = "Saliency"
    family = "pixel"
    summary = "absolute gradient of the class score at the pixels"
    cost = "1 with full backward"
    needs = frozenset({Need.IMAGE_GRADIENT})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The largest absolute gradient of each pixel, [N, H, W]."""
        return _largest(context.image_gradient)


@dataclass(frozen=True)
class InputXGradient(Method):
    """|sum over the color channels of x d y_c / d x|, at each pixel.

    Shrikumar et al., 2016, https://arxiv.org/abs/1605.01713.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> x = np.array([[[[1, 2]], [[3, 4]]]], np.float32)
        >>> context = ArrayContext(x, input_gradient=lambda x: 2 * x)  # y_c = sum x^2
        >>> InputXGradient().raw_maps(context)
        array([[[20., 40.]]], dtype=float32)
    """

    name = "inputxgradient"
    title = "Input x Gradient"
    family = "pixel"
    summary = "each pixel times its gradient"
    cost = "1 with full backward"
    needs = frozenset({Need.IMAGE_GRADIENT})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The absolute product of each pixel and its gradient, [N, H, W]."""
        return _summed(context.images * context.image_gradient)


@dataclass(frozen=True)
class FullGrad(Method):
    """The sizes of the contributions of the image and of all biases to the score.

    The contributions x dy_c/dx and b dy_c/dz of each bias b in a feature map z are rescaled to
    [0, 1] per feature map, summed over its channels, upsampled, and added. The biases are those of
    the file: an exporter that folds a batch normalization into a convolution leaves one bias of
    two, and biases behind the pooling, which have no place, are left out. pytorch-grad-cam rescales
    every channel on its own.
    Srinivas and Fleuret, NeurIPS 2019, https://arxiv.org/abs/1905.00780.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> contributions = np.array([[[0.5, 2]]], np.float32)
        >>> FullGrad().raw_maps(ArrayContext(full_gradient=contributions))
        array([[[0.5, 2. ]]], dtype=float32)
    """

    name = "fullgrad"
    title = "FullGrad"
    family = "pixel"
    summary = "contributions of the image and of all biases to the class score"
    cost = "1 + 1 with full backward"
    needs = frozenset({Need.FULL_GRADIENT})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The sizes of the contributions, [N, H, W]."""
        return context.full_gradient


@dataclass(frozen=True)
class SmoothGrad(Method):
    """Saliency of the gradient averaged over n noisy copies of the image.

    Smilkov et al., 2017, https://arxiv.org/abs/1706.03825.

    Attributes:
        n: Number of noisy copies, at least 1. Each takes a forward and a backward pass.
        sigma: Standard deviation of the noise as a fraction of (max x - min x), at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> x = np.array([[[[1, 2]], [[3, 4]]]], np.float32)
        >>> context = ArrayContext(x, input_gradient=lambda x: np.full_like(x, 3))
        >>> SmoothGrad(n=5).raw_maps(context)  # a constant gradient is not changed by noise
        array([[[3., 3.]]], dtype=float32)
    """

    name = "smoothgrad"
    title = "SmoothGrad"
    family = "pixel"
    summary = "absolute gradient at the pixels, averaged over noisy copies of the image"
    cost = "n with full backward"
    needs = frozenset({Need.IMAGE_GRADIENTS})

    n: int = 25
    sigma: float = 0.15

    def __post_init__(self) -> None:
        check_noise(self.name, self.n, self.sigma)

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The largest absolute mean gradient of each pixel, [N, H, W]."""
        total = np.zeros(context.images.shape)
        for noise in context.noise(self.n, self.sigma):
            total += context.image_gradients(context.images + noise)
        return _largest((total / self.n).astype(np.float32))


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """|sum over the color channels of x times the mean of d y_c / d x between 0 and x|.

    The integral is approximated by the midpoint rule: the gradient at x (i - 1/2) / steps,
    i = 1..steps.
    Sundararajan, Taly and Yan, ICML 2017, https://arxiv.org/abs/1703.01365.

    Attributes:
        steps: Number of midpoints, at least 1. Each takes a forward and a backward pass.

    Raises:
        OptionError: The number of steps is below 1.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> x = np.array([[[[1, 2]], [[3, 4]]]], np.float32)
        >>> context = ArrayContext(x, input_gradient=lambda x: 2 * x)  # y_c = sum x^2
        >>> IntegratedGradients(steps=5).raw_maps(context)  # the pixels' shares of y_c
        array([[[10., 20.]]], dtype=float32)
    """

    name = "integratedgradients"
    title = "Integrated Gradients"
    family = "pixel"
    summary = "each pixel times its gradient, averaged along the path from a zero image"
    cost = "steps with full backward"
    needs = frozenset({Need.IMAGE_GRADIENTS})

    steps: int = 50

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError(f"integratedgradients: steps must be at least 1, not {self.steps}")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The absolute contribution of each pixel to the score, [N, H, W]."""
        images = context.images
        total = np.zeros(images.shape)
        for i in range(self.steps):
            total += context.image_gradients(images * np.float32((i + 0.5) / self.steps))
        return _summed((images * total / self.steps).astype(np.float32))


def _largest(gradients: Float32Array) -> Float32Array:
    """The largest absolute value over the color channels, [N, H, W]."""
    sizes: Float32Array = np.abs(gradients).max(axis=1)
    return sizes


def _summed(attributions: Float32Array) -> Float32Array:
    """The absolute value of the sum over the color channels, [N, H, W]."""
    totals: Float32Array = np.abs(attributions.sum(axis=1))
    return totals
