"""Max-sensitivity: how far a map can move under changes too small to see."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricNeed, context, maps


@dataclass(frozen=True)
class MaxSensitivity(Metric):
    """max over d of ||CAM_c(x + d) - M|| / ||M||, d uniform noise within a small radius.

    The norms are Euclidean; a map of zeros counts as of norm 1. Yeh et al., NeurIPS 2019,
    definition 2, https://arxiv.org/abs/1901.09392.

    Attributes:
        samples: noisy copies of the image, at least 1; each costs what a map costs.
        radius: the most a value of the tensor may move, as a fraction of the image's range.

    Raises:
        OptionError: samples is below 1, or radius negative.
    """

    name = "max_sensitivity"
    title = "Max-sensitivity"
    summary = "how far the map moves under noise too small to see"
    higher_is_better = False
    value_range = (0.0, math.inf)
    needs = frozenset({MetricNeed.OTHER_MAPS})

    samples: int = 10
    radius: float = 0.02

    def __post_init__(self) -> None:
        if self.samples < 1 or self.radius < 0:
            raise OptionError(f"{self.name}: samples must be at least 1, radius at least 0")

    def score(self, explained: Explained) -> Float64Array:
        seen, heatmaps = context(explained), _flat(maps(explained))
        images, sources = seen.images, seen.rngs()
        limits = self.radius * np.ptp(images.reshape(len(images), -1), axis=1)
        worst = np.zeros(len(images))
        for _ in range(self.samples):
            noise = [
                rng.uniform(-limit, limit, images.shape[1:])
                for rng, limit in zip(sources, limits, strict=True)
            ]
            moved = _flat(seen.maps((images + np.stack(noise)).astype(np.float32)))
            worst = np.maximum(worst, np.linalg.norm(moved - heatmaps, axis=1))
        lengths = np.linalg.norm(heatmaps, axis=1)
        return worst / np.where(lengths > 0, lengths, 1.0)


def _flat(heatmaps: Float32Array) -> Float64Array:
    return heatmaps.reshape(len(heatmaps), -1).astype(np.float64)
