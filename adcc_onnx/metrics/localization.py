"""Metrics of where the map points: its overlap with the annotated object.

An image without an annotation has no value (NaN).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, Metric, MetricNeed

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PointingGame(Metric):
    """1 if the maximum of M lies on the object or within `tolerance` of it, else 0.

    If several pixels share the maximum, the value is the fraction of them that hit: the expected
    value of a random choice, so that neither the raster order nor a flat map has an advantage. A
    map of zeros has 0; an image without an annotation has no value (NaN).
    Zhang et al., IJCV 2018, https://arxiv.org/abs/1608.00507 (there the tolerance is 15 pixels).

    Attributes:
        tolerance: Euclidean distance from the object that still hits, in pixels of the map.

    Raises:
        OptionError: The tolerance is negative.

    Example:
        >>> maps = np.array([[[0.2, 1.0, 0.0]]], np.float32)
        >>> truth = np.array([[[False, False, True]]])
        >>> explained = ExplainedBatch(np.ones(1), maps=maps, truth=truth)
        >>> PointingGame().score(explained), PointingGame(tolerance=1).score(explained)
        (array([0.]), array([1.]))
    """

    name = "pointing_game"
    title = "Pointing"
    summary = "whether the maximum of the map lies on the object"
    limits = (
        "It looks at a single pixel, and a model may rightly use evidence outside of the object."
    )
    higher_is_better = True
    needs = frozenset({MetricNeed.TRUTH})

    tolerance: int = 0

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise OptionError(
                f"pointing_game: tolerance must not be negative, not {self.tolerance}"
            )

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The fraction of the map's maxima that hit, [N]."""
        pairs = zip(explained.full_size_maps, explained.require_truth(), strict=True)
        return np.array([self._hit(m, known) for m, known in pairs], np.float64)

    def _hit(self, m: Float32Array, known: Mask) -> float:
        if not known.any():
            return float("nan")
        highest = m.max()
        return float(self._reach(known)[m == highest].mean()) if highest > 0 else 0.0

    def _reach(self, known: Mask) -> Mask:
        """The pixels within `tolerance` of the object."""
        if self.tolerance == 0:
            return known
        outside = np.logical_not(known).astype(np.uint8)
        distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(distance <= self.tolerance)


class EnergyPointingGame(Metric):
    """The sum of M on the object over the sum of M; 0 for a map of zeros.

    An image without an annotation has no value (NaN).
    Wang et al., Score-CAM, CVPRW 2020, section 4.3, https://arxiv.org/abs/1910.01279.

    Example:
        >>> maps = np.array([[[0.5, 1.0, 0.5]]], np.float32)
        >>> truth = np.array([[[False, True, True]]])
        >>> EnergyPointingGame().score(ExplainedBatch(np.ones(1), maps=maps, truth=truth))
        array([0.75])
    """

    name = "energy_pointing_game"
    title = "Energy"
    summary = "fraction of the map's sum that lies on the object"
    limits = (
        "A model may rightly use evidence outside of the object, and large objects score "
        "higher by chance."
    )
    higher_is_better = True
    needs = frozenset({MetricNeed.TRUTH})

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The fraction of the map on the object, [N]."""
        m, known = explained.full_size_maps, explained.require_truth()
        energy = m.sum(axis=(1, 2), dtype=np.float64)
        inside = np.where(known, m, 0).sum(axis=(1, 2), dtype=np.float64)
        shares = np.divide(inside, energy, out=np.zeros_like(inside), where=energy > 0)
        return np.where(known.any(axis=(1, 2)), shares, np.nan)


@dataclass(frozen=True)
class IoU(Metric):
    """|{M >= threshold} and T| / |{M >= threshold} or T|, T the pixels of the object.

    An image without an annotation has no value (NaN).
    Zhou et al., CVPR 2016, https://arxiv.org/abs/1512.04150, use a fraction of the maximum, which
    is 1 here, and compare boxes; this class compares pixels.

    Attributes:
        threshold: Smallest value of the map that counts, above 0 and at most 1.

    Raises:
        OptionError: The threshold is out of its range.

    Example:
        >>> maps = np.array([[[0.5, 1.0, 0.1]]], np.float32)
        >>> truth = np.array([[[False, True, True]]])
        >>> IoU(threshold=0.5).score(ExplainedBatch(np.ones(1), maps=maps, truth=truth)).round(3)
        array([0.333])
    """

    name = "iou"
    title = "IoU"
    summary = "intersection over union of the thresholded map and the object"
    limits = "It depends on the threshold, and a model may rightly use only a part of the object."
    higher_is_better = True
    needs = frozenset({MetricNeed.TRUTH})

    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise OptionError(f"iou: threshold must be above 0 and at most 1, not {self.threshold}")

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The intersection over union, [N]."""
        marked = explained.full_size_maps >= self.threshold
        known = explained.require_truth()
        both = np.logical_and(marked, known).sum(axis=(1, 2))
        either = np.logical_or(marked, known).sum(axis=(1, 2))
        shares = np.divide(both, either, out=np.zeros(len(both)), where=either > 0)
        return np.where(known.any(axis=(1, 2)), shares, np.nan)


class BestIoU(Metric):
    """The largest IoU over all thresholds above 0, which does not depend on the map's scale.

    An image without an annotation has no value (NaN); a map of zeros has 0. The mean over a
    dataset takes the best threshold of each image, not one threshold for all.
    Choe et al., CVPR 2020, https://arxiv.org/abs/2001.07437, explain why a metric should not
    depend on a threshold.

    Example:
        >>> maps = np.array([[[0.5, 1.0, 0.1]]], np.float32)
        >>> truth = np.array([[[False, True, True]]])
        >>> BestIoU().score(ExplainedBatch(np.ones(1), maps=maps, truth=truth)).round(3)
        array([0.667])
    """

    name = "best_iou"
    title = "Best IoU"
    summary = "highest intersection over union of the map and the object over all thresholds"
    limits = "The threshold is chosen with the ground truth, so the value is an upper bound."
    higher_is_better = True
    needs = frozenset({MetricNeed.TRUTH})

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The largest intersection over union, [N]."""
        pairs = zip(explained.full_size_maps, explained.require_truth(), strict=True)
        return np.array([_best_iou(m.ravel(), known.ravel()) for m, known in pairs], np.float64)


def _best_iou(m: Float32Array, known: Mask) -> float:
    """The largest IoU; a threshold keeps the first pixels in descending order, with all ties."""
    size = int(known.sum())
    if not size:
        return float("nan")
    order = np.argsort(-m, kind="stable")
    order = order[m[order] > 0]
    if not order.size:
        return 0.0
    hits = np.cumsum(known[order])
    marked = np.arange(1, order.size + 1)
    last_of_ties = np.append(m[order][1:] != m[order][:-1], True)
    return float((hits / (marked + size - hits))[last_of_ties].max())
