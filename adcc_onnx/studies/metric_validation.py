"""A benchmark of the metrics themselves: do they rank attribution maps correctly?

The class of a drawing depends on its object only, and the position of the object is known. The maps
of methods, and maps that are broken on purpose, therefore have a true order: how well they localize
the object. Each metric ranks the same maps without the ground truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.errors import ImageError, OptionError, first_reasons
from adcc_onnx.evaluation.plan import Plan, make_plan
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Metric
from adcc_onnx.metrics.scoring import dataset_scores
from adcc_onnx.results.rows import StoredRun
from adcc_onnx.statistics.intervals import percentile_interval
from adcc_onnx.statistics.rank_correlation import kendall_tau_matrix
from adcc_onnx.statistics.resampling import Resampling, means, resampled_means
from adcc_onnx.studies.broken_maps import BREAKS, BrokenMaps

REFERENCE_METHODS = (
    "gradcam",
    "gradcam++",
    "xgradcam",
    "layercam",
    "hirescam",
    "eigencam",
    "ablationcam",
    "scorecam",
)
CONTROLS = ("fakecam", "random", "center")
# A centered blob is a fair guess of the object's position; these maps hold no information.
_UNINFORMATIVE = ("fakecam", "random")
ASSESSED_METRICS = (
    "average_drop",
    "average_increase",
    "average_gain",
    "coherency",
    "complexity",
    "adcc",
    "deletion(steps=28)",
    "insertion(steps=28)",
    "road",
    "sparseness",
    "entropy",
    "max_sensitivity(samples=3)",
    "infidelity(samples=32)",
)
TRUE_METRICS = ("best_iou", "energy_pointing_game", "pointing_game")


@dataclass(frozen=True)
class MetricAssessment:
    """How well one metric ranks attribution maps.

    Attributes:
        metric: Metric as the user wrote it.
        agreement: Kendall's tau-b with the true order of all maps, in [-1, 1].
        interval: Confidence interval of the agreement, over resampled images.
        reference_agreement: Kendall's tau-b with the true order of the reference methods only.
        auc: Area under the ROC curve of separating reference methods from uninformative maps
            (broken, random or Fake-CAM): the share of pairs that the metric ranks correctly.
        fakecam_rank: Rank of Fake-CAM by this metric; 1 is the best.
    """

    metric: str
    agreement: float
    interval: tuple[float, float]
    reference_agreement: float
    auc: float
    fakecam_rank: int


@dataclass(frozen=True)
class Validation:
    """The assessment of several metrics against the ground truth.

    Attributes:
        against: Metric that compares maps with the ground truth.
        images: Number of images that count.
        truth: Score of every map by that metric, by name, the best first.
        assessments: Assessment of each metric, the best first.
    """

    against: str
    images: int
    truth: dict[str, float]
    assessments: list[MetricAssessment]


def validation_plan(
    methods: Sequence[str] = (), metrics: Sequence[str] = (), seed: int = 0
) -> Plan:
    """Make the plan of a validation run.

    Args:
        methods: Reference methods; broken versions of the first one's maps are added. Empty takes
            `REFERENCE_METHODS`.
        metrics: Metrics to assess; empty takes `ASSESSED_METRICS`.
        seed: Random seed of the methods and metrics.

    Returns:
        A plan with the reference methods, the controls and the broken maps.
    """
    references = tuple(methods) or REFERENCE_METHODS
    plan = make_plan(
        (*references, *CONTROLS), (*(metrics or ASSESSED_METRICS), *TRUE_METRICS), seed=seed
    )
    first = references[0]
    broken = {f"{first} {how}": BrokenMaps(get_method(first), how) for how in BREAKS}
    return replace(plan, methods={**plan.methods, **broken})


def assess_metrics(run: StoredRun, plan: Plan, against: str, resampling: Resampling) -> Validation:
    """Compare the order in which every metric ranks the maps with the true order.

    Args:
        run: Run of `plan`, on images with ground truth.
        plan: Plan from `validation_plan`.
        against: Metric that gives the true order; one of `TRUE_METRICS`.
        resampling: Settings of the confidence intervals over images.

    Returns:
        The assessment of each metric.

    Raises:
        OptionError: `against` is none of `TRUE_METRICS`.
        ImageError: No image counts under every method.
    """
    if against not in TRUE_METRICS:
        raise OptionError(
            f"the true order is given by {', '.join(TRUE_METRICS)}, not by '{against}'"
        )
    table = _Table.of(run, plan)
    whole = table.oriented(means)
    drawn = table.oriented(lambda values: resampled_means(values, resampling))
    truth, true_draws = whole[against][:, 0], drawn[against]
    names = np.array(list(plan.methods))
    uninformative = np.isin(names, [*_UNINFORMATIVE, *_broken(names)])
    reference = ~np.isin(names, [*CONTROLS, *_broken(names)])
    assessments = []
    for metric in whole.keys() - set(TRUE_METRICS):
        row, draws = whole[metric][:, 0], drawn[metric]
        taus = np.array([_tau(*pair) for pair in zip(draws.T, true_draws.T, strict=True)])
        fakecam = row[names == "fakecam"]
        assessments.append(
            MetricAssessment(
                metric,
                _tau(row, truth),
                percentile_interval(taus, resampling.confidence),
                _tau(row[reference], truth[reference]),
                _auc(row[reference], row[uninformative]),
                int((row > fakecam).sum()) + 1,
            )
        )
    assessments.sort(key=lambda one: (-np.nan_to_num(one.agreement, nan=-2.0), one.metric))
    order = np.argsort(-truth, kind="stable")
    scores = {str(names[i]): float(truth[i]) for i in order}
    return Validation(against, table.images, scores, assessments)


@dataclass(frozen=True)
class _Table:
    """The K values of the n images that count under all methods, [K, n] per method."""

    metrics: dict[str, Metric]
    rows: tuple[str, ...]
    values: list[Float64Array]
    images: int

    @classmethod
    def of(cls, run: StoredRun, plan: Plan) -> _Table:
        columns = [run.methods[name] for name in plan.methods]
        common = columns[0].positions
        for one in columns[1:]:
            common = np.intersect1d(common, one.positions)
        if not len(common):
            reasons = first_reasons(failure.reason for failure in run.failures)
            raise ImageError(f"no image counts under every method: {reasons}")
        rows = tuple(columns[0].values)
        values = [
            np.stack([one.values[row][np.isin(one.positions, common)] for row in rows])
            for one in columns
        ]
        return cls(plan.metrics, rows, values, len(common))

    def oriented(self, means_of: Callable[[Float64Array], Float64Array]) -> dict[str, Float64Array]:
        """Return the scores of each metric, [methods, R], negated where lower is better."""
        found: dict[str, list[Float64Array]] = {name: [] for name in self.metrics}
        for values in self.values:
            scores = dataset_scores(
                self.metrics, dict(zip(self.rows, means_of(values), strict=True))
            )
            for name, metric in self.metrics.items():
                found[name].append(scores[name] if metric.higher_is_better else -scores[name])
        return {name: np.stack(scores) for name, scores in found.items()}


def _broken(names: NDArray[np.str_]) -> list[str]:
    return [name for name in names if name.endswith(tuple(f" {how}" for how in BREAKS))]


def _tau(first: Float64Array, second: Float64Array) -> float:
    return float(kendall_tau_matrix(np.stack([first, second]))[0, 1])


def _auc(references: Float64Array, uninformative: Float64Array) -> float:
    """Compute the area under the ROC curve; ties count half."""
    higher = references[:, None] > uninformative
    equal = references[:, None] == uninformative
    return float((higher + 0.5 * equal).mean())
