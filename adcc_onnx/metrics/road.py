"""ROAD: remove pixels so that their removal itself tells nothing, and look at the score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.imputation import Mask, impute
from adcc_onnx.metrics.metric import CompositeMetric, Explained, Metric, MetricNeed, context, maps
from adcc_onnx.metrics.pixel_order import ranks

_SHARES = np.arange(1, 10) / 10  # of the pixels that are removed
_NOISE = 0.01  # of the image's range


class Removal(Metric):
    """The mean of p(c) with 10, 20, ... 90 % of the pixels imputed from their neighbors.

    Noisy linear imputation, sigma 0.01 of the image's range. Rong et al., ICML 2022,
    https://arxiv.org/abs/2202.00449.
    """

    needs = frozenset({MetricNeed.OTHER_SCORES})

    def score(self, explained: Explained) -> Float64Array:
        seen, means = context(explained), []
        for i, (heatmap, rng) in enumerate(zip(maps(explained), seen.rngs(), strict=True)):
            image = seen.images[i]
            order = self.order(heatmap)
            removed = [order < np.rint(share * order.size) for share in _SHARES]
            curve = seen.scores(i, np.stack([_imputed(image, mask, rng) for mask in removed]))
            seen.keep(i, curve)
            means.append(curve.mean())
        return np.array(means)

    @abstractmethod
    def order(self, heatmap: Float32Array) -> NDArray[np.int64]:
        """The place of each pixel in the order of removal, [H, W]."""


class RoadMorf(Removal):
    """p(c) with the most relevant pixels removed first; see `Removal`."""

    name = "road_morf"
    title = "ROAD MoRF"
    summary = "the score with the most important pixels imputed"
    higher_is_better = False

    def order(self, heatmap: Float32Array) -> NDArray[np.int64]:
        return ranks(heatmap)


class RoadLerf(Removal):
    """p(c) with the least relevant pixels removed first; see `Removal`."""

    name = "road_lerf"
    title = "ROAD LeRF"
    summary = "the score with the least important pixels imputed"
    higher_is_better = True

    def order(self, heatmap: Float32Array) -> NDArray[np.int64]:
        return heatmap.size - 1 - ranks(heatmap)


class Road(CompositeMetric):
    """(LeRF - MoRF) / 2: how much more the unimportant pixels can be spared than the important.

    Rong et al., ICML 2022, https://arxiv.org/abs/2202.00449; the combination of the two orders is
    that of pytorch-grad-cam's ROADCombined.
    """

    name = "road"
    title = "ROAD"
    summary = "(ROAD LeRF - ROAD MoRF) / 2"
    higher_is_better = True
    value_range = (-0.5, 0.5)
    parts = (RoadMorf(), RoadLerf())
    needs = Removal.needs

    def combine(self, values: Mapping[str, Float64Array]) -> Float64Array:
        return (values[RoadLerf.name] - values[RoadMorf.name]) / 2


def _imputed(image: Float32Array, removed: Mask, rng: np.random.Generator) -> Float32Array:
    noise = rng.standard_normal((len(image), int(removed.sum())))
    filled = impute(image, removed)
    filled[:, removed] += (_NOISE * np.ptp(image) * noise).astype(np.float32)
    return filled
