"""Pointing game: whether the map's highest point lies on the object."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricNeed, maps, truth


@dataclass(frozen=True)
class PointingGame(Metric):
    """1 if the maximum of M lies on the object or within `tolerance` of it, else 0.

    Where several pixels are the maximum, the share of them that hit: what choosing one by lot
    gives on average, so that neither the order of the raster nor a flat map wins anything. A map
    of zeros points nowhere and has 0; an image without truth has no value (NaN).
    Zhang et al., IJCV 2018, https://arxiv.org/abs/1608.00507 (there the tolerance is 15 pixels).

    Attributes:
        tolerance: the Euclidean distance from the object that still hits, in pixels of the map.

    Raises:
        OptionError: a negative tolerance.
    """

    name = "pointing_game"
    title = "Pointing"
    summary = "whether the map's highest point lies on the object"
    higher_is_better = True
    needs = frozenset({MetricNeed.TRUTH})

    tolerance: int = 0

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise OptionError(
                f"pointing_game: tolerance must not be negative, not {self.tolerance}"
            )

    def score(self, explained: Explained) -> Float64Array:
        pairs = zip(maps(explained), truth(explained), strict=True)
        return np.array([self._hit(m, known) for m, known in pairs], np.float64)

    def _hit(self, m: NDArray[np.float32], known: NDArray[np.bool_]) -> float:
        if not known.any():
            return float("nan")
        highest = m.max()
        return float(self._reach(known)[m == highest].mean()) if highest > 0 else 0.0

    def _reach(self, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The pixels within `tolerance` of the object."""
        if self.tolerance == 0:
            return known
        outside = np.logical_not(known).astype(np.uint8)
        distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(distance <= self.tolerance)
