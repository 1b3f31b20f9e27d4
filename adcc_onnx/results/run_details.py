"""What a full report shows of one run beyond the scores: pairs, ranks, distributions and images."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.pairwise import Pairwise, compare_pairs, rank_images
from adcc_onnx.results.ranking import MethodValues, method_values
from adcc_onnx.results.rows import ImageRow
from adcc_onnx.results.subgroups import Subgroup, by_class, by_confidence
from adcc_onnx.statistics.rank_tests import MeanRanks

# The per-image values that ADCC is computed from.
ADCC_PARTS = ("average_drop", "coherency", "complexity")
_MOST_CLASSES = 30
_MOST_POINTS = 500  # of a scatter plot, per method
_WHISKERS = 1.5  # interquartile ranges


@dataclass(frozen=True)
class BoxPlot:
    """The five numbers of a box plot.

    Attributes:
        low: Smallest value within 1.5 interquartile ranges of the box.
        lower_quartile: First quartile.
        median: Median.
        upper_quartile: Third quartile.
        high: Largest value within 1.5 interquartile ranges of the box.
    """

    low: float
    lower_quartile: float
    median: float
    upper_quartile: float
    high: float


@dataclass(frozen=True)
class RunDetails:
    """The parts of a full report on one run.

    Attributes:
        pairs: Differences between all pairs of methods; None with fewer than two.
        ranks: Mean ranks of the methods; None with fewer than two methods or images.
        ranked: Names of the methods that `ranks` refers to.
        classes: Scores by explained class.
        confidences: Scores by the probability of the explained class.
        boxes: Box plots of the parts of ADCC, by method and metric.
        points: Values of the parts of ADCC, by method and metric, [n] for the images at
            `point_positions`.
        point_positions: Positions of the images of `points`, by method.
    """

    pairs: Pairwise | None
    ranks: MeanRanks | None
    ranked: list[str]
    classes: list[Subgroup]
    confidences: list[Subgroup]
    boxes: dict[str, dict[str, BoxPlot]]
    points: dict[str, dict[str, Float64Array]]
    point_positions: dict[str, NDArray[np.int64]]


def run_details(result: EvaluationResult) -> RunDetails:
    """Compute what a full report shows of one run.

    Args:
        result: The result of the run.

    Returns:
        The details.
    """
    methods, rows = method_values(result.stored_run), result.image_rows
    ranking, settings = result.ranking, result.resampling
    points, positions = _points(methods)
    if ranking is None:
        return RunDetails(None, None, [], [], [], _boxes(methods), points, positions)
    by_name = {method.name: method for method in methods}
    scored = [by_name[n] for n in ranking.rows if n == ranking.best or n in ranking.p_values]
    # The tests of pairs and ranks assume a fixed number of images.
    several = len(scored) > 1 and result.sequential is None
    return RunDetails(
        compare_pairs(scored, ranking.score, settings) if several else None,
        rank_images(scored, ranking.score, settings) if several else None,
        [method.name for method in scored],
        by_class(scored, rows, ranking.score, _MOST_CLASSES),
        by_confidence(scored, rows, ranking.score),
        _boxes(methods),
        points,
        positions,
    )


def explained_classes(rows: Sequence[ImageRow]) -> list[int]:
    """Return the indices of all classes that images were explained for, predicted as or labeled."""
    found = {c for r in rows for c in (r.target, r.predicted, r.label) if c is not None}
    return sorted(found)


def _boxes(methods: Sequence[MethodValues]) -> dict[str, dict[str, BoxPlot]]:
    found: dict[str, dict[str, BoxPlot]] = {}
    for method in methods:
        for name in ADCC_PARTS:
            values = method.values.get(name, np.empty(0))
            values = values[~np.isnan(values)]
            if len(values):
                found.setdefault(method.name, {})[name] = _box(values)
    return found


def _box(values: Float64Array) -> BoxPlot:
    lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    reach = _WHISKERS * (upper - lower)
    inside = values[(values >= lower - reach) & (values <= upper + reach)]
    return BoxPlot(float(inside.min()), lower, median, upper, float(inside.max()))


def _points(
    methods: Sequence[MethodValues],
) -> tuple[dict[str, dict[str, Float64Array]], dict[str, NDArray[np.int64]]]:
    """Return the values for scatter plots; a fixed, evenly spaced share of many images."""
    points: dict[str, dict[str, Float64Array]] = {}
    positions: dict[str, NDArray[np.int64]] = {}
    for method in methods:
        if not all(name in method.values for name in ADCC_PARTS):
            continue
        parts = np.stack([method.values[name] for name in ADCC_PARTS])
        known = np.flatnonzero(~np.isnan(parts).any(axis=0))
        if len(known) > _MOST_POINTS:
            known = known[np.linspace(0, len(known) - 1, _MOST_POINTS).astype(np.int64)]
        if len(known):
            points[method.name] = dict(zip(ADCC_PARTS, parts[:, known], strict=True))
            positions[method.name] = method.images[known]
    return points, positions


def values_by_position(
    methods: Sequence[MethodValues], positions: Collection[int]
) -> dict[str, dict[int, dict[str, float]]]:
    """Return the values of every method on some images, by the positions of the images."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for method in methods:
        places = np.flatnonzero(np.isin(method.images, list(positions)))
        values = {name: column[places].tolist() for name, column in method.values.items()}
        found[method.name] = {
            position: {
                name: column[i] for name, column in values.items() if not math.isnan(column[i])
            }
            for i, position in enumerate(method.images[places].tolist())
        }
    return found
