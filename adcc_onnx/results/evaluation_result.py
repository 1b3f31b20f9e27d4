"""The result of an evaluation: scores, confidence intervals, ranking and per-image values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import numpy as np

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric_registry import get_metrics
from adcc_onnx.metrics.scoring import Metrics, dataset_scores
from adcc_onnx.results.anchored_estimates import AnchoredRun, Anchors
from adcc_onnx.results.notable_images import notable_images
from adcc_onnx.results.per_image_records import import_pandas, per_image_records, to_dataframe
from adcc_onnx.results.ranking import MethodValues, Ranking, align_images, method_values, rank
from adcc_onnx.results.rows import (
    FailureRow,
    ImageRow,
    MeanCurve,
    MethodColumns,
    StoredPictures,
    StoredRun,
)
from adcc_onnx.results.score_definitions import Score, main_score, scores_of, value_columns
from adcc_onnx.results.sequential_ranking import sequential_ranking
from adcc_onnx.results.sequential_run import compare_run, sequential_estimates
from adcc_onnx.results.sequential_summary import SequentialSummary, summarize
from adcc_onnx.results.store import Store
from adcc_onnx.rich_display import rendered
from adcc_onnx.statistics.intervals import Estimates, Interval, estimate
from adcc_onnx.statistics.resampling import Resampling

Curves = Mapping[str, MeanCurve]

# Images that an HTML report shows of a run, so that it stays below 3 MB.
SHOWN_IMAGES = 120
_REPR_METHODS, _REPR_SCORES = 5, 6


@dataclass(frozen=True)
class MethodResult:
    """The result of one method on a dataset.

    Attributes:
        scores: Score of each metric by name; a fraction in [0, 1] unless the metric defines
            another range. A score that no image counts for is absent.
        intervals: Confidence interval (low, high) of each score by name; empty if fewer than two
            images count.
        degenerate: Number of images whose map was constant; they count in the scores.
        failed: Number of images that the method failed on; they do not count in the scores.
        seconds: Mean time per image in seconds; None without images.
        passes: Mean number of model passes per map, the first pass included; None if unknown.
        curves: Mean over the images of each curve that a metric recorded, by metric name.
        curve_errors: Standard error of each point of these means, by metric name.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> model = adcc.load(classifier_path(), device="cpu")
        >>> result = adcc.evaluate(model, "drawings:4", ["fakecam"], ["coherency"])
        >>> fakecam = result.methods["fakecam"]
        >>> fakecam.scores
        {'coherency': 1.0}
        >>> fakecam.degenerate, fakecam.failed
        (0, 0)
    """

    scores: dict[str, float]
    intervals: dict[str, Interval] = field(repr=False)
    degenerate: int
    failed: int
    seconds: float | None = field(repr=False)
    passes: float | None = field(repr=False)
    curves: dict[str, list[float]] = field(repr=False)
    curve_errors: dict[str, list[float]] = field(repr=False)


@dataclass(frozen=True, repr=False)
class EvaluationResult:
    """The result of evaluating methods on one model and one dataset.

    Attributes:
        model: Name of the model.
        protocol: Name of the evaluation protocol, such as "poppi2021".
        layer: Name of the target layer; several are joined by the fuse mode, as in "a mean b".
        target: Explained class: "predicted", "label" or a class index.
        images: Number of evaluated images, failed ones included.
        failed: Number of images that could not be read or scored at all.
        top1: Top-1 accuracy on the labeled images, in [0, 1]; None without labels.
        complete: Whether the run has finished.
        scores_reason: Why the model's scores were chosen among several outputs; empty if there was
            no choice.
        methods: Result of each method, by name, in the order requested.
        failures: All failures, those of whole images first, in source order.
        score_definitions: Definition of each score, by name.
        ranking: Methods ranked by ADCC, or by the first score if ADCC was not requested; None if
            no method has that score.
        resampling: Settings of the confidence intervals and tests.
        sequential: What is certain after how many images; None for a run without a stopping rule.
        anchors: How the scores of a cheap precision were corrected; None for a run without anchors.
        stored_run: Values of every method on every image.
        image_rows: The images, in source order.
        shown: Positions of the images that a report shows, with the reasons why; see
            `notable_images`.
        pictures: Their thumbnails and maps, as far as the run kept them.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> model = adcc.load(classifier_path(), device="cpu")
        >>> result = adcc.evaluate(model, "drawings:4", ["gradcam", "fakecam"])
        >>> result.images
        4
        >>> result.ranking.order, result.ranking.controls
        (['gradcam'], ['center', 'random', 'fakecam'])
        >>> result.methods["fakecam"].scores["coherency"]
        1.0
        >>> rows = result.per_image(as_dataframe=False)
        >>> rows[1]["image"], rows[1]["method"], rows[1]["coherency"]
        ('2026-0', 'fakecam', 1.0)
    """

    model: str
    protocol: str
    layer: str
    target: str | int
    images: int
    failed: int
    top1: float | None
    complete: bool
    scores_reason: str
    methods: dict[str, MethodResult]
    failures: list[FailureRow]
    score_definitions: dict[str, Score]
    ranking: Ranking | None
    resampling: Resampling
    sequential: SequentialSummary | None
    anchors: Anchors | None
    stored_run: StoredRun = field(compare=False)
    image_rows: Sequence[ImageRow] = field(compare=False)
    shown: dict[int, list[str]] = field(compare=False)
    pictures: StoredPictures = field(compare=False)

    @property
    def scored(self) -> int:
        """Number of images that at least one method was scored on; controls do not count."""
        methods, controls = self.stored_run.methods, set(self.stored_run.controls)
        names = [name for name in methods if name not in controls] or list(methods)
        positions = [methods[name].positions for name in names]
        return len(np.unique(np.concatenate(positions))) if positions else 0

    @property
    def warnings(self) -> list[str]:
        """Why the result is probably meaningless, such as untrained weights; usually empty."""
        found: list[str] = self.stored_run.config.get("warnings", [])
        return found

    @property
    def image_names(self) -> dict[int, str]:
        """Names of the images by position."""
        return {row.position: row.name for row in self.image_rows}

    def estimated_interval(self, method: str, score: str) -> Interval | None:
        """Return the interval of a score that this run only estimates.

        Args:
            method: Name of the method.
            score: Name of the score.

        Returns:
            The interval in float32 if the run stopped early or was corrected by anchors, from
            -infinity to infinity if too few images have values; None if the score was computed on
            all images.
        """
        found = self.sequential
        whole = found is None or found.standings[method].images >= found.population
        if whole and self.anchors is None:
            return None
        return self.methods[method].intervals.get(score, (-np.inf, np.inf))

    @property
    def ranked(self) -> tuple[list[str], list[str]]:
        """Names of the methods and of the controls, the best first.

        Without a ranking, all are methods, in the order of the run.
        """
        ranking = self.ranking
        return (list(self.methods), []) if ranking is None else (ranking.order, ranking.controls)

    @property
    def rows(self) -> list[str]:
        """Names of the methods and then of the controls, as in `ranked`."""
        methods, controls = self.ranked
        return [*methods, *controls]

    @property
    def can_be_significant(self) -> bool:
        """Whether the number of images allows any significant difference of two methods."""
        confidence = self.resampling.confidence
        return self.ranking is not None and self.ranking.can_be_significant(self.scored, confidence)

    @property
    def not_significantly_worse(self) -> list[str] | None:
        """Methods and controls that do not differ significantly from the best method.

        None if there is no ranking, or if the number of images allows no significant difference.
        """
        if self.ranking is None or not self.can_be_significant:
            return None
        return self.ranking.not_significantly_worse(self.resampling.confidence)

    @property
    def not_better_than_control(self) -> list[str] | None:
        """Methods that are not significantly better than the best control; None as above."""
        if self.ranking is None or not self.can_be_significant:
            return None
        return self.ranking.not_better_than_control(self.resampling.confidence)

    @overload
    def per_image(self, as_dataframe: Literal[False]) -> list[dict[str, Any]]: ...

    @overload
    def per_image(self, as_dataframe: bool | None = None) -> Any: ...

    def per_image(self, as_dataframe: bool | None = None) -> Any:
        """Return the values of every image under every method.

        Args:
            as_dataframe: Whether to return a pandas DataFrame. The default returns one if pandas
                is installed, and a list of dictionaries otherwise.

        Returns:
            One row per image and method, with the keys image, label, target, predicted,
            probability (of the explained class), method, one key per metric, degenerate and
            failure. A value that does not exist is None (missing in a DataFrame).

        Raises:
            OptionError: A DataFrame was requested, and pandas is not installed.

        Example:
            >>> import adcc_onnx as adcc
            >>> from adcc_onnx.drawings import classifier_path
            >>> model = adcc.load(classifier_path(), device="cpu")
            >>> result = adcc.evaluate(model, "drawings:2", "center", "coherency", controls=False)
            >>> for row in result.per_image(as_dataframe=False):
            ...     print(row["image"], row["method"], row["coherency"])
            2026-0 center 1.0
            2026-1 center 1.0
        """
        metrics = {score.spec: score.metric for score in self.score_definitions.values()}
        columns = value_columns(metrics)
        records = per_image_records(self.stored_run, self.image_rows, columns)
        return records if as_dataframe is False else to_dataframe(records, columns, as_dataframe)

    def to_pandas(self) -> Any:
        """Return the scores as a pandas DataFrame.

        Returns:
            One row per method, the best first and the controls last. The columns are every score
            with the ends of its interval (`adcc`, `adcc_low`, `adcc_high`), `degenerate`, `failed`
            and `control`. A value that does not exist is NaN.

        Raises:
            OptionError: The package pandas is not installed.

        Example:
            >>> import adcc_onnx as adcc
            >>> from adcc_onnx.drawings import classifier_path
            >>> result = adcc.evaluate(classifier_path(), "drawings:4", ["gradcam"], ["coherency"])
            >>> result.to_pandas().loc["gradcam", "control"]  # doctest: +SKIP
            False
        """
        pandas = import_pandas()
        if pandas is None:
            raise OptionError("to_pandas needs pandas: pip install pandas")
        values = [self._row(name) for name in self.rows]
        return pandas.DataFrame(values, index=pandas.Index(self.rows, name="method"))

    def plot(
        self,
        kind: str = "bars",
        *,
        score: str | None = None,
        x: str = "average_drop",
        y: str = "coherency",
        ax: Any = None,
    ) -> Any:
        """Draw the result with matplotlib.

        Args:
            kind: "bars" (a score of every method with its interval), "curves" (the mean curves of
                insertion, deletion or ROAD with bands) or "scatter" (one point per image and
                method).
            score: Score of the bars, or name of the curves; ADCC or the first ones if None.
            x: Value per image on the x axis of the scatter plot.
            y: Value per image on the y axis of the scatter plot.
            ax: The matplotlib axes to draw on; a new figure if None.

        Returns:
            The axes.

        Raises:
            OptionError: The package matplotlib is not installed, or the result has no such score.

        Example:
            >>> import adcc_onnx as adcc
            >>> from adcc_onnx.drawings import classifier_path
            >>> result = adcc.evaluate(classifier_path(), "drawings:4", ["gradcam"])
            >>> axes = result.plot(score="coherency")  # doctest: +SKIP
            >>> axes.figure.savefig("scores.png")  # doctest: +SKIP
        """
        return rendered(self, "plot", kind=kind, score=score, x=x, y=y, ax=ax)

    def _repr_html_(self) -> str | None:
        html: str | None = rendered(self, "html")
        return html

    def _row(self, name: str) -> dict[str, Any]:
        method, row = self.methods[name], dict[str, Any]()
        for score in self.score_definitions:
            low, high = method.intervals.get(score, (np.nan, np.nan))
            row[score] = method.scores.get(score, np.nan)
            row |= {f"{score}_low": low, f"{score}_high": high}
        control = name in self.stored_run.controls
        return {**row, "degenerate": method.degenerate, "failed": method.failed, "control": control}

    def __repr__(self) -> str:
        order = self.rows
        head = f"{self.model}, {self.images} images"
        if self.ranking is not None:
            head += f", best method by {self.ranking.score.name}: {self.ranking.best}"
        lines = [f"<EvaluationResult: {head}", *map(self._repr_line, order[:_REPR_METHODS])]
        if len(order) > _REPR_METHODS:
            lines.append(f"  and {len(order) - _REPR_METHODS} more methods")
        return "\n".join(lines) + ">"

    def _repr_line(self, name: str) -> str:
        scores = list(self.methods[name].scores.items())
        texts = [f"{score} {value:.4g}" for score, value in scores[:_REPR_SCORES]]
        more = ", ..." if len(scores) > _REPR_SCORES else ""
        return f"  {name}: {', '.join(texts) or 'no scores'}{more}"


def evaluation_results(
    store: Store, resampling: Resampling | None = None, all_pictures: bool = False
) -> list[EvaluationResult]:
    """Return the results of all runs of a store; see `evaluation_result`."""
    return [evaluation_result(store, run, resampling, all_pictures) for run in store.runs()]


def evaluation_result(
    store: Store,
    run: StoredRun,
    resampling: Resampling | None = None,
    all_pictures: bool = False,
) -> EvaluationResult:
    """Compute the result of one run.

    Args:
        store: Store that holds the run.
        run: The run, as read from the store.
        resampling: Settings of the confidence intervals and tests.
        all_pictures: Whether the result holds the pictures of all images, not only of those that a
            report shows.

    Returns:
        The result, which does not need the store any more.
    """
    curves = {name: store.mean_curves(run.number, name) for name in run.methods}
    found = summarize_run(run, store.images(run.number), curves, resampling)
    shown = notable_images(run, found.image_rows, method_values(run), found.ranking, SHOWN_IMAGES)
    positions = [row.position for row in found.image_rows] if all_pictures else shown
    return replace(found, shown=shown, pictures=store.pictures(run.number, positions))


def summarize_run(
    run: StoredRun,
    image_rows: Sequence[ImageRow] = (),
    curves: Mapping[str, Curves] | None = None,
    resampling: Resampling | None = None,
) -> EvaluationResult:
    """Compute the result of one run from what a store holds of it.

    Args:
        run: The run.
        image_rows: Its images, which the per-image values need.
        curves: Mean curves of each method, by method name.
        resampling: Settings of the confidence intervals and tests.

    Returns:
        The result.
    """
    config, settings = run.config, resampling or Resampling()
    metrics = get_metrics(config["metrics"])
    scores = scores_of(metrics)
    failed = Counter(failure.method for failure in run.failures)
    values = method_values(run)
    compared = compare_run(run, image_rows)
    sequential: SequentialSummary | None = None
    anchored = None if run.anchors is None else AnchoredRun(run)
    if compared is not None and compared[0].images:
        found, stopped = compared
        settings = replace(settings, confidence=1.0 - found.rule.alpha)
        sequential, ranking = summarize(found, stopped), sequential_ranking(found)
        estimates = [sequential_estimates(found, name, scores.values()) for name in run.methods]
    elif anchored is not None:
        estimates, ranking = anchored.estimates(settings.confidence), anchored.ranking()
    else:
        ranking = rank(values, main_score(scores), settings)
        estimates = _estimates(values, metrics, settings)
    anchors = None if anchored is None else anchored.summary(estimates)
    return EvaluationResult(
        model=config["model"],
        protocol=config["protocol"],
        layer=config["layer"],
        target=config["target"],
        images=run.images,
        failed=run.failed,
        top1=run.top1,
        complete=run.complete,
        scores_reason=config.get("scores_reason", ""),
        methods={
            name: _method_result(
                columns, list(scores), found, failed[name], (curves or {}).get(name, {})
            )
            for (name, columns), found in zip(run.methods.items(), estimates, strict=True)
        },
        failures=run.failures,
        score_definitions=scores,
        ranking=ranking,
        resampling=settings,
        sequential=sequential,
        anchors=anchors,
        stored_run=run,
        image_rows=image_rows,
        shown={},
        pictures=StoredPictures(),
    )


def _method_result(
    columns: MethodColumns, names: Sequence[str], found: Estimates, failed: int, curves: Curves
) -> MethodResult:
    rows = zip(names, found.point.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
    known = [row for row in rows if not np.isnan(row[1])]
    return MethodResult(
        scores={name: score for name, score, _, _ in known},
        intervals={name: (low, high) for name, _, low, high in known if not np.isnan(low)},
        degenerate=int(columns.degenerate.sum()),
        failed=failed,
        seconds=float(columns.seconds.mean()) if len(columns.seconds) else None,
        passes=None if np.isnan(columns.passes).all() else float(np.nanmean(columns.passes)),
        curves={name: curve.mean.tolist() for name, curve in curves.items()},
        curve_errors={name: curve.standard_error.tolist() for name, curve in curves.items()},
    )


def _estimates(
    methods: Sequence[MethodValues], metrics: Metrics, resampling: Resampling
) -> list[Estimates]:
    """Estimate every score of every method, all on the same resampled images."""
    names = value_columns(metrics)

    def scores(means: Float64Array) -> Float64Array:
        by_method = np.split(means, len(methods))
        found = [dataset_scores(metrics, dict(zip(names, part, strict=True))) for part in by_method]
        return np.stack([row for one in found for row in one.values()])

    values = align_images(methods, names)
    found = estimate(np.concatenate(values), scores, resampling)
    parts = [np.split(ends, len(methods)) for ends in (found.point, found.low, found.high)]
    return [Estimates(*part) for part in zip(*parts, strict=True)]
