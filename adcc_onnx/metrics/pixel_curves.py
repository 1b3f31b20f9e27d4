"""Deletion and insertion: the score while the important pixels are removed or restored."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, Metric, MetricContext, MetricNeed

Baseline = Literal["zero", "blur", "mean"]

_KERNEL, _SIGMA = 11, 5.0  # pixels, of the baseline "blur"


class PixelCurve(Metric):
    """The area under p(c) against the fraction of replaced pixels, most important first.

    The trapezoid rule with both ends. Petsiuk et al., RISE, BMVC 2018,
    https://arxiv.org/abs/1806.07421.

    Attributes:
        steps: Number of equal steps.
        baseline: Kind of the image that replaces the pixels.
    """

    needs = frozenset({MetricNeed.REPLACED_SCORES})

    steps: int
    baseline: Baseline

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError(f"{self.name}: steps must be at least 1, not {self.steps}")

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The area under the curve, [N]."""
        context, areas = explained.require_context(), []
        for i, heatmap in enumerate(explained.full_size_maps):
            counts = np.rint(np.linspace(0, heatmap.size, self.steps + 1)).astype(np.int64)
            baseline = baseline_of(context.images[i], self.baseline)
            curve = self.curve(context, i, pixel_ranks(heatmap), counts, baseline)
            context.keep(i, curve)
            areas.append(np.trapezoid(curve, counts / heatmap.size))
        return np.array(areas)

    @abstractmethod
    def curve(
        self,
        context: MetricContext,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """The score p after each step, [steps + 1].

        Args:
            context: The model.
            image: Index of the image in the batch.
            ranks: Position of each pixel in the order of replacement, [H, W].
            counts: Numbers of pixels to replace, [steps + 1].
            baseline: The baseline, [C, H, W].
        """


@dataclass(frozen=True)
class Deletion(PixelCurve):
    """The area under p(c) against the fraction of pixels replaced, most important first.

    Petsiuk et al., RISE, BMVC 2018, https://arxiv.org/abs/1806.07421.

    Attributes:
        steps: Number of equal steps from the whole image to none of it, at least 1. Each takes a
            pass through the model.
        baseline: Replacement of the pixels: "zero" (of the normalized tensor), "blur" (the image
            under an 11 x 11 Gaussian, sigma 5) or "mean" (of each channel).

    Raises:
        OptionError: The number of steps is below 1.

    Example:
        >>> from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
        >>> images = np.array([[[[1, 0]]]], np.float32)
        >>> context = ArrayMetricContext(images, score=lambda images: images.sum(axis=(1, 2, 3)))
        >>> maps = np.array([[[1, 0]]], np.float32)  # the pixel that matters is removed first
        >>> Deletion(steps=2).score(ExplainedBatch(np.ones(1), maps=maps, context=context))
        array([0.25])
    """

    name = "deletion"
    title = "Deletion"
    summary = "area under the class probability while the most important pixels are removed first"
    limits = (
        "Images with missing pixels lie outside of the training data, so the score mixes "
        "the map's quality with the model's response to such images."
    )
    higher_is_better = False

    steps: int = 224
    baseline: Baseline = "zero"

    def curve(self, context: MetricContext, image: int, *replacement: Any) -> Float64Array:
        """The score p of the image with its first pixels replaced, [steps + 1]."""
        return context.replaced_scores(image, *replacement)


@dataclass(frozen=True)
class Insertion(PixelCurve):
    """The area under p(c) against the fraction of pixels restored, most important first.

    Petsiuk et al., RISE, BMVC 2018, https://arxiv.org/abs/1806.07421.

    Attributes:
        steps: Number of equal steps from the baseline to the image, at least 1. Each takes a pass
            through the model.
        baseline: Start of the curve: "blur" (the image under an 11 x 11 Gaussian, sigma 5), "zero"
            (of the normalized tensor) or "mean" (of each channel).

    Raises:
        OptionError: The number of steps is below 1.

    Example:
        >>> from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
        >>> images = np.array([[[[1, 0]]]], np.float32)
        >>> context = ArrayMetricContext(images, score=lambda images: images.sum(axis=(1, 2, 3)))
        >>> explained = ExplainedBatch(np.ones(1), maps=images[:, 0], context=context)
        >>> Insertion(steps=2, baseline="zero").score(explained)
        array([0.75])
    """

    name = "insertion"
    title = "Insertion"
    summary = "area under the class probability while the most important pixels are restored first"
    limits = (
        "It depends on the blurred baseline: classes that are recognizable in the blur start high."
    )
    higher_is_better = True

    steps: int = 224
    baseline: Baseline = "blur"

    def curve(self, context: MetricContext, image: int, *replacement: Any) -> Float64Array:
        """The score p of the baseline with the image's first pixels restored, [steps + 1]."""
        return context.restored_scores(image, *replacement)


def pixel_ranks(heatmap: Float32Array) -> NDArray[np.int64]:
    """The position of each pixel [H, W], the most important first; ties in raster order.

    Example:
        >>> pixel_ranks(np.array([[0.1, 0.5], [0.1, 0.9]], np.float32))
        array([[2, 1],
               [3, 0]])
    """
    order = np.argsort(-heatmap.reshape(-1), kind="stable")
    positions = np.empty(order.size, np.int64)
    positions[order] = np.arange(order.size)
    return positions.reshape(heatmap.shape)


def baseline_of(image: Float32Array, kind: Baseline) -> Float32Array:
    """The image that replaces pixels of x [C, H, W]: zeros, x blurred, or each channel's mean.

    The blur is an 11 x 11 Gaussian with sigma 5 and zeros around the image.

    Example:
        >>> baseline_of(np.array([[[1, 3]]], np.float32), "mean")
        array([[[2., 2.]]], dtype=float32)
    """
    if kind == "zero":
        return np.zeros_like(image)
    if kind == "mean":
        means = image.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        return np.broadcast_to(means.astype(np.float32), image.shape)
    window = cv2.getGaussianKernel(_KERNEL, _SIGMA)
    border = cv2.BORDER_CONSTANT
    planes = [cv2.sepFilter2D(p, cv2.CV_64F, window, window, borderType=border) for p in image]
    return np.stack(planes).astype(np.float32)
