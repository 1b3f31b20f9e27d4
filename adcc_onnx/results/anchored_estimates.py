"""Scores of a cheap precision, corrected by the values of some images in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric_registry import get_metrics
from adcc_onnx.metrics.scoring import dataset_scores
from adcc_onnx.results.ranking import Ranking, align_images, method_values, ranking_of
from adcc_onnx.results.rows import StoredRun
from adcc_onnx.results.score_definitions import column_ranges, main_score, scores_of, value_columns
from adcc_onnx.statistics.intervals import Estimates
from adcc_onnx.statistics.prediction_powered import (
    corrected_means,
    corrected_spread,
    with_anchors,
)
from adcc_onnx.statistics.resampling import means


@dataclass(frozen=True)
class Anchors:
    """How the scores of a run were corrected.

    Attributes:
        images: Number of images in float32.
        precision: The precision of all images, such as "float16".
        cheap: Scores in this precision, by method and score.
        corrections: The corrected scores minus these, likewise.
    """

    images: int
    precision: str
    cheap: dict[str, dict[str, float]]
    corrections: dict[str, dict[str, float]]


class AnchoredRun:
    """The values of a run in a cheap precision, with those of its anchors.

    Args:
        run: The run, which has anchors.
    """

    def __init__(self, run: StoredRun) -> None:
        assert run.anchors is not None, "the run has no anchors"
        self._run, self._metrics = run, get_metrics(run.config["metrics"])
        self._names, self._columns = list(run.methods), value_columns(self._metrics)
        both = [*method_values(run), *method_values(run.anchors)]
        cheap, exact = np.split(align_images(both, self._columns), 2)
        self._cheap = cheap
        self._anchors = np.logical_not(np.isnan(exact).all(axis=(0, 1)))
        self._values = np.concatenate(
            [with_anchors(*one) for one in zip(cheap, exact, strict=True)]
        )

    def estimates(self, confidence: float) -> list[Estimates]:
        """Estimate every score of every method, with intervals by the jackknife.

        Args:
            confidence: Confidence level of the intervals, in (0, 1).
        """
        point = self._scores(means(self._values))[..., 0]

        def flat(all_means: Float64Array) -> Float64Array:
            return np.concatenate(self._scores(all_means))

        spread = corrected_spread(self._values, flat, self._anchors)
        half = spread.half_widths(confidence).reshape(point.shape)
        ranges = [score.metric.value_range for score in scores_of(self._metrics).values()]
        low, high = np.array(ranges).T
        ends = np.clip(point - half, low, high), np.clip(point + half, low, high)
        return [Estimates(*part) for part in zip(point, *ends, strict=True)]

    def summary(self, estimates: Sequence[Estimates]) -> Anchors:
        """Return the scores in the cheap precision and their corrections.

        Args:
            estimates: The corrected scores.
        """
        assert self._run.anchors is not None
        scores = scores_of(self._metrics)
        cheap: dict[str, dict[str, float]] = {}
        corrections: dict[str, dict[str, float]] = {}
        for name, values, found in zip(self._names, self._cheap, estimates, strict=True):
            by_column = dict(zip(self._columns, means(values), strict=True))
            points = dataset_scores(self._metrics, by_column)
            cheap[name] = {key: float(points[key][0]) for key in scores}
            corrected = dict(zip(scores, found.point.tolist(), strict=True))
            corrections[name] = {key: corrected[key] - cheap[name][key] for key in scores}
        return Anchors(self._run.anchors.images, self._run.config["precision"], cheap, corrections)

    def ranking(self, by: str | None = None) -> Ranking | None:
        """Rank the methods by their corrected scores.

        Differences are tested with the standard error of the jackknife, in which an image with
        both values counts with both.

        Args:
            by: Name of the score; None takes ADCC, or the first one without it.
        """
        scores = scores_of(self._metrics)
        score = main_score(scores) if by is None else scores[by]
        row = list(scores).index(score.name)
        whole = self._scores(means(self._values))[:, row, 0]

        def test(first: int, others: Sequence[int], hypotheses: int) -> Float64Array:
            chosen = list(others)

            def gaps(all_means: Float64Array) -> Float64Array:
                by_method = self._scores(all_means)[:, row]
                differences: Float64Array = by_method[first] - by_method[chosen]
                return differences

            spread = corrected_spread(self._values, gaps, self._anchors)
            found: Float64Array = spread.p_values(whole[first] - whole[chosen])
            return found

        controls = [name in self._run.controls for name in self._names]
        return ranking_of(self._names, controls, score, whole, test)

    def _scores(self, all_means: Float64Array) -> Float64Array:
        """Compute the scores of R datasets, [M, F, R]."""
        ranges = column_ranges(self._metrics)
        low, high = np.array([ranges[name] for name in self._columns]).T[:, :, None]
        found = []
        for part in np.split(all_means, len(self._names)):
            corrected = np.clip(corrected_means(part), low, high)
            by_column = dict(zip(self._columns, corrected, strict=True))
            found.append(np.stack(list(dataset_scores(self._metrics, by_column).values())))
        return np.stack(found)
