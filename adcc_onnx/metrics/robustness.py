"""Metrics of Yeh et al., NeurIPS 2019: max-sensitivity and infidelity under changes of the image.

https://arxiv.org/abs/1901.09392.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, Metric, MetricContext, MetricNeed

Mask = NDArray[np.bool_]

_CHUNK = 32  # changed images in memory at a time


@dataclass(frozen=True)
class MaxSensitivity(Metric):
    """max over d of ||CAM_c(x + d) - M|| / ||M||, d uniform noise within a small radius.

    The norms are Euclidean; that of a map of zeros is replaced by 1.
    Yeh et al., NeurIPS 2019, definition 2, https://arxiv.org/abs/1901.09392.

    Attributes:
        samples: Number of noisy copies of the image, at least 1. Each costs as much as a map.
        radius: Maximum change of a value of the tensor as a fraction of the image's range.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
        >>> images = np.array([[[[0, 1]]]], np.float32)
        >>> context = ArrayMetricContext(images, score=np.sum, map_of=lambda x: x[:, 0])
        >>> explained = ExplainedBatch(np.ones(1), maps=images[:, 0], context=context)
        >>> value = MaxSensitivity(radius=0.02).score(explained)[0]
        >>> bool(0 < value < 0.02 * 2**0.5)  # the map moves with the pixels
        True
    """

    name = "max_sensitivity"
    title = "Max-sensitivity"
    summary = "largest relative change of the map under small noise on the image"
    limits = "A map that ignores the image is perfectly stable."
    higher_is_better = False
    value_range = (0.0, math.inf)
    needs = frozenset({MetricNeed.OTHER_MAPS})

    samples: int = 10
    radius: float = 0.02

    def __post_init__(self) -> None:
        if self.samples < 1 or self.radius < 0:
            raise OptionError(f"{self.name}: samples must be at least 1, radius at least 0")

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The largest relative change of the map, [N]."""
        context, heatmaps = explained.require_context(), _flat(explained.full_size_maps)
        images, sources = context.images, context.rngs()
        limits = self.radius * np.ptp(images.reshape(len(images), -1), axis=1)
        worst = np.zeros(len(images))
        for _ in range(self.samples):
            noise = [
                rng.uniform(-limit, limit, images.shape[1:])
                for rng, limit in zip(sources, limits, strict=True)
            ]
            moved = _flat(context.maps((images + np.stack(noise)).astype(np.float32)))
            worst = np.maximum(worst, np.linalg.norm(moved - heatmaps, axis=1))
        lengths = np.linalg.norm(heatmaps, axis=1)
        return worst / np.where(lengths > 0, lengths, 1.0)


@dataclass(frozen=True)
class Infidelity(Metric):
    """E_I (b I.M - (p(x) - p(x without I)))^2, I a random square of pixels that are set to zero.

    A map has no scale of its own, so b is the factor that minimizes the value. The squares' sides
    are uniform from an eighth to a half of the shorter side of the image.
    Yeh et al., NeurIPS 2019, definition 1 and appendix ("optimal scaling"),
    https://arxiv.org/abs/1901.09392.

    Attributes:
        samples: Number of squares, at least 1. Each takes a pass through the model.

    Raises:
        OptionError: The number of squares is below 1.

    Example:
        >>> from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
        >>> images = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
        >>> context = ArrayMetricContext(images, score=lambda x: x.mean(axis=(1, 2, 3)))
        >>> p = images.mean(axis=(1, 2, 3))  # a linear score, whose exact map is the image
        >>> explained = ExplainedBatch(p, maps=images[:, 0], context=context)
        >>> bool(Infidelity(samples=20).score(explained)[0] < 1e-12)
        True
    """

    name = "infidelity"
    title = "Infidelity"
    summary = "error of the map as a prediction of the drop when squares are removed"
    limits = "The value depends on the scale of the class score, so it does not compare models."
    higher_is_better = False
    value_range = (0.0, math.inf)
    needs = frozenset({MetricNeed.OTHER_SCORES})

    samples: int = 100

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise OptionError(f"{self.name}: samples must be at least 1, not {self.samples}")

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The mean squared error of the map's prediction, [N]."""
        context, errors = explained.require_context(), []
        maps = explained.full_size_maps
        for i, (heatmap, rng) in enumerate(zip(maps, context.rngs(), strict=True)):
            squares = random_squares(rng, self.samples, heatmap.shape)
            without = _scores_without(context, i, squares)
            lost = explained.probability[i] - without
            predicted = np.array([heatmap[square].sum(dtype=np.float64) for square in squares])
            errors.append(_smallest_error(predicted, lost))
        return np.array(errors)


def random_squares(rng: np.random.Generator, count: int, size: tuple[int, ...]) -> list[Mask]:
    """Random squares of pixels, with sides from an eighth to a half of the shorter side."""
    shorter = min(size)
    squares = []
    for _ in range(count):
        side = int(rng.integers(max(1, shorter // 8), max(1, shorter // 2) + 1))
        top, left = (int(rng.integers(extent - side + 1)) for extent in size)
        square = np.zeros(size, bool)
        square[top : top + side, left : left + side] = True
        squares.append(square)
    return squares


def _scores_without(context: MetricContext, image: int, squares: list[Mask]) -> Float64Array:
    """The score p without each of the squares, a few at a time to limit memory, [M]."""
    parts = [squares[start : start + _CHUNK] for start in range(0, len(squares), _CHUNK)]
    whole = context.images[image]
    return np.concatenate(
        [context.scores(image, whole * ~np.stack(part)[:, None]) for part in parts]
    )


def _smallest_error(predicted: Float64Array, lost: Float64Array) -> float:
    """The mean of (b predicted - lost)^2 for the best factor b."""
    power = (predicted**2).sum()
    scale = (predicted * lost).sum() / power if power > 0 else 0.0
    return float(((scale * predicted - lost) ** 2).mean())


def _flat(heatmaps: Float32Array) -> Float64Array:
    return heatmaps.reshape(len(heatmaps), -1).astype(np.float64)
