"""Intersection over union of what the map marks and the object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricNeed, maps, truth


@dataclass(frozen=True)
class IoU(Metric):
    """|{M >= threshold} and T| / |{M >= threshold} or T|, T the pixels of the object.

    An image without truth has no value (NaN).
    Zhou et al., CVPR 2016, https://arxiv.org/abs/1512.04150, mark by a share of the maximum, which
    is 1 here; there boxes are compared, here pixels.

    Attributes:
        threshold: above 0 and at most 1.

    Raises:
        OptionError: another threshold.
    """

    name = "iou"
    title = "IoU"
    summary = "overlap of the map above a threshold with the object"
    higher_is_better = True
    needs = frozenset({MetricNeed.TRUTH})

    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise OptionError(f"iou: threshold must be above 0 and at most 1, not {self.threshold}")

    def score(self, explained: Explained) -> Float64Array:
        marked, known = maps(explained) >= self.threshold, truth(explained)
        both = np.logical_and(marked, known).sum(axis=(1, 2))
        either = np.logical_or(marked, known).sum(axis=(1, 2))
        shares = np.divide(both, either, out=np.zeros(len(both)), where=either > 0)
        return np.where(known.any(axis=(1, 2)), shares, np.nan)


class BestIoU(Metric):
    """The greatest IoU over all thresholds above 0: it does not depend on how the map is scaled.

    An image without truth has no value (NaN), a map of zeros has 0. Its mean over a data set
    takes the best threshold of every image, not one for all.
    Choe et al., CVPR 2020, https://arxiv.org/abs/2001.07437, on why the threshold must not decide.
    """

    name = "best_iou"
    title = "Best IoU"
    summary = "overlap of the map with the object at the map's best threshold"
    higher_is_better = True
    needs = frozenset({MetricNeed.TRUTH})

    def score(self, explained: Explained) -> Float64Array:
        pairs = zip(maps(explained), truth(explained), strict=True)
        return np.array([_best(m.ravel(), known.ravel()) for m, known in pairs], np.float64)


def _best(m: NDArray[np.float32], known: NDArray[np.bool_]) -> float:
    """Each threshold marks a head of the pixels in falling order; equal values go together."""
    size = int(known.sum())
    if not size:
        return float("nan")
    order = np.argsort(-m, kind="stable")
    order = order[m[order] > 0]
    if not order.size:
        return 0.0
    hits = np.cumsum(known[order])
    marked = np.arange(1, order.size + 1)
    whole = np.append(m[order][1:] != m[order][:-1], True)
    return float((hits / (marked + size - hits))[whole].max())
