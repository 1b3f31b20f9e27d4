"""Deletion and insertion: how the score goes and comes with the important pixels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricContext, MetricNeed, context, maps
from adcc_onnx.metrics.pixel_order import Baseline, baseline_of, ranks


class PixelCurve(Metric):
    """The area under p(c) against the fraction of pixels exchanged, most important first.

    By the trapezoid rule with both ends. Petsiuk et al., RISE, BMVC 2018,
    https://arxiv.org/abs/1806.07421.
    """

    needs = frozenset({MetricNeed.REPLACED_SCORES})

    steps: int
    baseline: Baseline

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError(f"{self.name}: steps must be at least 1, not {self.steps}")

    def score(self, explained: Explained) -> Float64Array:
        seen, areas = context(explained), []
        for i, heatmap in enumerate(maps(explained)):
            counts = np.rint(np.linspace(0, heatmap.size, self.steps + 1)).astype(np.int64)
            baseline = baseline_of(seen.images[i], self.baseline)
            curve = self.curve(seen, i, ranks(heatmap), counts, baseline)
            seen.keep(i, curve)
            areas.append(np.trapezoid(curve, counts / heatmap.size))
        return np.array(areas)

    @abstractmethod
    def curve(
        self,
        seen: MetricContext,
        image: int,
        order: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """p with so many pixels exchanged, [steps + 1]; see `View.replaced_scores`."""


@dataclass(frozen=True)
class Deletion(PixelCurve):
    """The area under p(c) against the fraction of pixels replaced, most important first.

    Attributes:
        steps: equal steps from the whole image to none of it; each is a pass through the model.
        baseline: what shows instead, "zero" (of the normalized tensor), "blur" (the image under an
            11 x 11 Gaussian, sigma 5) or "mean" (of each channel).

    Raises:
        OptionError: steps is below 1.
    """

    name = "deletion"
    title = "Deletion"
    summary = "area under the score while the important pixels are taken away"
    higher_is_better = False

    steps: int = 224
    baseline: Baseline = "zero"

    def curve(self, seen: MetricContext, image: int, *exchange: Any) -> Float64Array:
        return seen.replaced_scores(image, *exchange)


@dataclass(frozen=True)
class Insertion(PixelCurve):
    """The area under p(c) against the fraction of pixels restored, most important first.

    Attributes:
        steps: equal steps from the baseline to the image; each is a pass through the model.
        baseline: where it starts, "blur" (the image under an 11 x 11 Gaussian, sigma 5), "zero" (of
            the normalized tensor) or "mean" (of each channel).

    Raises:
        OptionError: steps is below 1.
    """

    name = "insertion"
    title = "Insertion"
    summary = "area under the score while the important pixels are put back"
    higher_is_better = True

    steps: int = 224
    baseline: Baseline = "blur"

    def curve(self, seen: MetricContext, image: int, *exchange: Any) -> Float64Array:
        return seen.restored_scores(image, *exchange)
