"""A benchmark of the metrics themselves: do they order methods as the truth does?

On drawings the place of the object is known, and only it tells the class. So methods, and maps that
are broken on purpose, have a true order: by how well they find the object. Each metric orders them
as well, without that knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.plan import Plan, make_plan
from adcc_onnx.metrics.metric import Metric
from adcc_onnx.metrics.scoring import dataset_scores
from adcc_onnx.results.store import StoredRun
from adcc_onnx.statistics.intervals import percentile_interval
from adcc_onnx.statistics.rankings import rank_agreement
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
# The center is a fair guess where the object is; these are no guess at all.
_WORTHLESS = ("fakecam", "random")
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

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MetricAssessment:
    """How well one metric orders maps.

    Attributes:
        metric: as asked.
        agreement: Kendall's tau-b with the true order of all maps, in [-1, 1].
        interval: of the agreement, over resampled images.
        among_sound: the same among the sound methods alone.
        told_apart: the share of pairs of a sound method and a worthless map (broken, random or
            Fake-CAM) in which the sound one is ranked higher.
        fakecam_place: Fake-CAM's place by this metric, from 1.
    """

    metric: str
    agreement: float
    interval: tuple[float, float]
    among_sound: float
    auc: float
    fakecam_place: int


@dataclass(frozen=True)
class Validation:
    """What `judge` finds.

    Attributes:
        against: the metric that knows the truth.
        images: how many were used.
        truth: its figure for every map, by name, the best first.
        judgements: of the metrics, the best first.
    """

    against: str
    images: int
    truth: dict[str, float]
    judgements: list[MetricAssessment]


def validation_plan(
    methods: Sequence[str] = (), metrics: Sequence[str] = (), seed: int = 0
) -> Plan:
    """Sound methods, controls, and the first method's maps broken; judged and true metrics."""
    sound = tuple(methods) or REFERENCE_METHODS
    plan = make_plan(
        (*sound, *CONTROLS), (*(metrics or ASSESSED_METRICS), *TRUE_METRICS), seed=seed
    )
    broken = {f"{sound[0]} {how}": BrokenMaps(get_method(sound[0]), how) for how in BREAKS}
    return replace(plan, methods={**plan.methods, **broken})


def assess_metrics(run: StoredRun, plan: Plan, against: str, resampling: Resampling) -> Validation:
    """Hold every metric's order of the maps against the true one.

    Args:
        run: of `plan`, on images with truth.
        plan: from `validation_plan`.
        against: one of `TRUE_METRICS`.
        resampling: of the images, for the intervals.

    Raises:
        OptionError: `against` is no true metric, or no image counts.
    """
    if against not in TRUE_METRICS:
        raise OptionError(f"the truth is told by {', '.join(TRUE_METRICS)}, not by '{against}'")
    table = _Table.of(run, plan)
    whole = table.oriented(means)
    drawn = table.oriented(lambda values: resampled_means(values, resampling))
    truth, true_draws = whole[against][:, 0], drawn[against]
    names = np.array(list(plan.methods))
    worthless = np.isin(names, [*_WORTHLESS, *_broken(names)])
    sound = ~np.isin(names, [*CONTROLS, *_broken(names)])
    judgements = []
    for metric in whole.keys() - set(TRUE_METRICS):
        row, draws = whole[metric][:, 0], drawn[metric]
        taus = np.array([_tau(*pair) for pair in zip(draws.T, true_draws.T, strict=True)])
        fakecam = row[names == "fakecam"]
        judgements.append(
            MetricAssessment(
                metric,
                _tau(row, truth),
                percentile_interval(taus, resampling.confidence),
                _tau(row[sound], truth[sound]),
                _auc(row[sound], row[worthless]),
                int((row > fakecam).sum()) + 1,
            )
        )
    judgements.sort(key=lambda one: (-np.nan_to_num(one.agreement, nan=-2.0), one.metric))
    order = np.argsort(-truth, kind="stable")
    scores = {str(names[i]): float(truth[i]) for i in order}
    return Validation(against, table.images, scores, judgements)


@dataclass(frozen=True)
class _Table:
    """The values of all metrics, [K, n] a method, of the images that count under all methods."""

    metrics: dict[str, Metric]
    rows: tuple[str, ...]
    values: list[Floats]
    images: int

    @classmethod
    def of(cls, run: StoredRun, plan: Plan) -> _Table:
        columns = [run.methods[name] for name in plan.methods]
        common = columns[0].positions
        for one in columns[1:]:
            common = np.intersect1d(common, one.positions)
        if not len(common):
            raise OptionError("no image counts under every method")
        rows = tuple(columns[0].values)
        values = [
            np.stack([one.values[row][np.isin(one.positions, common)] for row in rows])
            for one in columns
        ]
        return cls(plan.metrics, rows, values, len(common))

    def oriented(self, means_of: Callable[[Floats], Floats]) -> dict[str, Floats]:
        """Each metric's figures, [methods, R], turned so that higher is better."""
        found: dict[str, list[Floats]] = {name: [] for name in self.metrics}
        for values in self.values:
            scores = dataset_scores(
                self.metrics, dict(zip(self.rows, means_of(values), strict=True))
            )
            for name, metric in self.metrics.items():
                found[name].append(scores[name] if metric.higher_is_better else -scores[name])
        return {name: np.stack(scores) for name, scores in found.items()}


def _broken(names: NDArray[np.str_]) -> list[str]:
    return [name for name in names if name.endswith(tuple(f" {how}" for how in BREAKS))]


def _tau(first: Floats, second: Floats) -> float:
    return float(rank_agreement(np.stack([first, second]))[0, 1])


def _auc(sound: Floats, worthless: Floats) -> float:
    """The area under the ROC curve: ties count half."""
    higher = sound[:, None] > worthless
    equal = sound[:, None] == worthless
    return float((higher + 0.5 * equal).mean())
