"""The difference of a method between two runs, at least one of which is corrected by anchors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.ranking import MethodValues, align_images, identify_by_name
from adcc_onnx.results.rows import StoredRun
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.statistics.paired_tests import PairedDifference
from adcc_onnx.statistics.prediction_powered import (
    corrected_means,
    corrected_spread,
    with_anchors,
)
from adcc_onnx.statistics.resampling import means


def anchored_difference(
    new: tuple[StoredRun, Mapping[int, str]],
    old: tuple[StoredRun, Mapping[int, str]],
    method: str,
    score: Score,
    confidence: float,
) -> PairedDifference | None:
    """Estimate the difference in float32, on the images that both runs scored.

    A run without anchors counts as it is.

    Args:
        new: A run, and the names of its images by position.
        old: The run that it is compared with, likewise.
        method: Name of the method.
        score: The score.
        confidence: Confidence level of the interval, in (0, 1).

    Returns:
        The difference with its interval by the jackknife; the interval is None if fewer than three
        common images are anchors of each run that has some; None without common images.
    """
    parts = [one for run, names in (new, old) for one in _cheap_and_exact(run, names, method)]
    values = align_images(parts, score.columns)
    common = np.logical_not(np.isnan(values[0] + values[2]).any(axis=0))
    if not common.any():
        return None
    values = values[:, :, common]
    known = np.logical_not(np.isnan(values).any(axis=(0, 1)))
    # An image is an anchor of both runs, or of none.
    values[1::2, :, ~known] = np.nan
    stacked = np.concatenate([with_anchors(*values[:2]), with_anchors(*values[2:])])
    low, high = np.array(score.column_ranges).T[:, :, None]

    def difference(all_means: Float64Array) -> Float64Array:
        one, other = (
            score.from_means(np.clip(corrected_means(part), low, high))
            for part in np.split(all_means, 2)
        )
        return (one - other)[None]

    point = float(difference(means(stacked))[0, 0])
    half = float(corrected_spread(stacked, difference, known).half_widths(confidence)[0])
    interval = None if np.isnan(half) else (point - half, point + half)
    return PairedDifference(int(common.sum()), point, interval)


def _cheap_and_exact(run: StoredRun, names: Mapping[int, str], method: str) -> list[MethodValues]:
    """Return the values of a method on all images, and those in float32, by the images' names."""
    found = []
    for part in (run, run.anchors or run):
        columns = part.methods[method]
        known = np.isin(columns.positions, list(names))
        values = {name: column[known] for name, column in columns.values.items()}
        own = MethodValues(method, columns.positions[known], values)
        found.append(identify_by_name(own, names))
    return found
