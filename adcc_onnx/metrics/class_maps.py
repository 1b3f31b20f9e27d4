"""Metrics of how the maps of two classes differ: a faithful map depends on its class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, Metric, MetricNeed


@dataclass(frozen=True)
class Top2IoU(Metric):
    """|{M >= t} and {M2 >= t}| / |{M >= t} or {M2 >= t}|, M2 the map of the runner-up class.

    The runner-up is the class with the highest logit other than the explained class. An image has
    no value (NaN) if one of the two maps is constant, because such a map marks nothing.
    Chowdhury et al., CAPE, CVPR 2024, https://arxiv.org/abs/2404.02388, compare the maps of the two
    most probable classes; they publish neither code nor threshold of it.

    Attributes:
        threshold: Smallest value of the maps that counts, above 0 and at most 1.

    Raises:
        OptionError: The threshold is out of its range.

    Example:
        >>> from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
        >>> maps = {0: np.array([[1.0, 0.6, 0.0]]), 2: np.array([[0.0, 0.7, 1.0]])}
        >>> context = ArrayMetricContext(
        ...     np.zeros((1, 1, 1, 3), np.float32),
        ...     score=np.sum,
        ...     logits=np.array([[5.0, 1.0, 3.0]], np.float32),
        ...     class_map_of=lambda classes: np.stack([maps[c] for c in classes]),
        ... )
        >>> first = maps[0][None].astype(np.float32)
        >>> Top2IoU().score(ExplainedBatch(np.ones(1), maps=first, context=context)).round(3)
        array([0.333])
    """

    name = "top2_iou"
    title = "Top-2 IoU"
    summary = "overlap of the map with that of the second most probable class"
    limits = (
        "Two similar classes may rightly have similar maps, and maps that differ are not "
        "necessarily right."
    )
    higher_is_better = False
    needs = frozenset({MetricNeed.OTHER_CLASS_MAPS})

    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise OptionError(
                f"{self.name}: threshold must be above 0 and at most 1, not {self.threshold}"
            )

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The intersection over union, [N]."""
        context, first = explained.require_context(), explained.full_size_maps
        second = context.class_maps(runners_up(context.logits, context.targets))
        marked, other = first >= self.threshold, second >= self.threshold
        both = np.logical_and(marked, other).sum(axis=(1, 2))
        either = np.logical_or(marked, other).sum(axis=(1, 2))
        shares = np.divide(both, either, out=np.zeros(len(both)), where=either > 0)
        return np.where(_is_constant(first) | _is_constant(second), np.nan, shares)


def runners_up(logits: Float32Array, targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class with the highest logit other than the target of each image, [N].

    Example:
        >>> runners_up(np.array([[5, 1, 3], [5, 1, 3]], np.float32), np.array([0, 1]))
        array([2, 0])
    """
    others = logits.astype(np.float64)
    others[np.arange(len(others)), targets] = -np.inf
    found: NDArray[np.int64] = others.argmax(axis=1)
    return found


def _is_constant(maps: Float32Array) -> NDArray[np.bool_]:
    return np.asarray(np.ptp(maps.reshape(len(maps), -1), axis=1) == 0)
