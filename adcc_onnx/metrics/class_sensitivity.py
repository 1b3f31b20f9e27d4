"""Metric of whether a map depends on the explained class: the random logit test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.kernels.similarity import pearson
from adcc_onnx.metrics.metric import ExplainedBatch, Metric, MetricContext, MetricNeed

_WINDOW = 7  # side of the windows of the structural similarity, in pixels
_C1, _C2 = 0.01**2, 0.03**2  # its constants for maps in [0, 1]


@dataclass(frozen=True)
class ClassSensitivity(Metric):
    """1 - similarity of the map and the map of another class of the same image.

    The other class is drawn at random. A map that ignores the class has the value 0.
    Sixt, Granz and Landgraf, ICML 2020, https://arxiv.org/abs/1912.09818; Quantus calls the
    similarity itself random logit.

    Attributes:
        similarity: "ssim", the mean structural similarity in windows of 7 x 7 pixels (Wang et al.,
            2004), or "pearson". Two equal maps have the similarity 1; a constant map has Pearson's
            correlation 0 with any other map.
        samples: Number of other classes, at least 1; the mean of their values counts. Each costs
            as much as a map.

    Raises:
        OptionError: The number of classes is below 1.

    Example:
        >>> from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
        >>> images = np.zeros((1, 1, 8, 8), np.float32)
        >>> ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
        >>> context = ArrayMetricContext(
        ...     images,
        ...     score=np.sum,
        ...     logits=np.array([[1, 0]], np.float32),
        ...     class_map_of=lambda classes: 1 - ramp,
        ... )
        >>> explained = ExplainedBatch(np.ones(1), maps=ramp, context=context)
        >>> ClassSensitivity(similarity="pearson").score(explained).round(6)  # opposite maps
        array([2.])
    """

    name = "class_sensitivity"
    title = "Class sensitivity"
    summary = "how much the map changes if another class is explained"
    limits = "A map of noise changes with the class, too; similar classes may share their evidence."
    higher_is_better = True
    value_range = (0.0, 2.0)
    needs = frozenset({MetricNeed.OTHER_CLASS_MAPS})

    similarity: Literal["ssim", "pearson"] = "ssim"
    samples: int = 1

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise OptionError(f"{self.name}: samples must be at least 1, not {self.samples}")

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """1 - the mean similarity to the maps of other classes, [N]."""
        context, maps = explained.require_context(), explained.full_size_maps
        similarity = _pearson if self.similarity == "pearson" else mean_structural_similarity
        total = np.zeros(len(maps))
        for others in _other_classes(context, self.samples):
            total += similarity(maps, context.class_maps(others))
        return 1 - total / self.samples


def mean_structural_similarity(first: Float32Array, second: Float32Array) -> Float64Array:
    """The structural similarity of maps in [0, 1], averaged over windows of 7 x 7 pixels.

    Wang et al., IEEE Transactions on Image Processing 2004,
    https://doi.org/10.1109/TIP.2003.819861, with a uniform window and unbiased covariances.

    Args:
        first: Maps [N, H, W].
        second: Maps [N, H, W].

    Returns:
        [N], in [-1, 1]. In maps of fewer than 7 pixels a side, the windows are as large as they
        can be.
    """
    side = min(_WINDOW, *first.shape[1:])
    side -= 1 - side % 2
    unbiased = side**2 / max(side**2 - 1, 1)
    x, y = first.astype(np.float64), second.astype(np.float64)

    def mean(values: Float64Array) -> Float64Array:
        averaged: Float64Array = uniform_filter(values, size=(1, side, side))
        edge = side // 2
        return averaged[:, edge : values.shape[1] - edge, edge : values.shape[2] - edge]

    mean_x, mean_y = mean(x), mean(y)
    variance_x = unbiased * (mean(x * x) - mean_x**2)
    variance_y = unbiased * (mean(y * y) - mean_y**2)
    covariance = unbiased * (mean(x * y) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    similarity: Float64Array = (luminance * structure).mean(axis=(1, 2))
    return similarity


def _pearson(first: Float32Array, second: Float32Array) -> Float64Array:
    """Pearson's correlation, [N]; 0 for a constant map, and 1 for two equal maps."""
    constant = [np.ptp(maps, axis=(1, 2)) == 0 for maps in (first, second)]
    equal = (first == second).all(axis=(1, 2))
    undefined = np.logical_or(*constant)
    return np.where(equal, 1.0, np.where(undefined, 0.0, pearson(first, second)))


def _other_classes(context: MetricContext, samples: int) -> list[NDArray[np.int64]]:
    """Classes other than the explained ones, drawn at random: `samples` arrays [N]."""
    classes = context.logits.shape[1]
    rows = [
        # An index among the other classes: those from the explained one on move up by one.
        (drawn := rng.integers(classes - 1, size=samples)) + (drawn >= target)
        for rng, target in zip(context.rngs(), context.targets, strict=True)
    ]
    return list(np.array(rows, np.int64).reshape(-1, samples).T)
