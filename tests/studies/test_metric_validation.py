"""The assessment of metrics, on values whose agreement is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adcc_onnx.errors import OptionError
from adcc_onnx.results.rows import MethodColumns, StoredRun
from adcc_onnx.statistics.resampling import Resampling
from adcc_onnx.studies.metric_validation import TRUE_METRICS, assess_metrics, validation_plan

N = 40
REFERENCES = ("gradcam", "layercam")
RESAMPLING = Resampling(replicates=50)


def stored(per_method: dict[str, dict[str, float]], methods: list[str]) -> StoredRun:
    """Return a run in which all images of a method have equal values; one image lacks methods."""
    columns = {}
    for index, name in enumerate(methods):
        positions = np.arange(N + index % 2)
        given = {k: np.full(len(positions), v) for k, v in per_method[name].items()}
        zeros = np.zeros(len(positions))
        columns[name] = MethodColumns(
            positions, given, zeros.astype(bool), zeros, np.full(len(zeros), np.nan)
        )
    return StoredRun(1, {}, True, N + 1, 0, None, [], columns)


def test_agreement_is_kendalls_tau_with_the_true_order() -> None:
    plan = validation_plan(REFERENCES, ["complexity", "sparseness", "coherency"])
    methods = list(plan.methods)
    assert methods == [
        *REFERENCES,
        *("fakecam", "random", "center"),
        *("gradcam shuffled", "gradcam inverted", "gradcam shifted"),
    ]
    truth = [0.9, 0.8, 0.2, 0.1, 0.5, 0.15, 0.05, 0.3]
    sparseness = [0.9, 0.95, 0.1, 0.2, 0.5, 0.85, 0.9, 0.3]
    rows = {
        name: {
            **dict.fromkeys(TRUE_METRICS, truth[i]),
            "complexity": truth[i],  # lower is better: the reverse of the truth
            "coherency": truth[i] / 2,
            "sparseness": sparseness[i],
        }
        for i, name in enumerate(methods)
    }
    found = assess_metrics(stored(rows, methods), plan, "best_iou", RESAMPLING)
    assert found.images == N
    assert list(found.truth) == [methods[i] for i in np.argsort(-np.array(truth))]
    by_name = {one.metric: one for one in found.assessments}
    assert [one.metric for one in found.assessments] == ["coherency", "sparseness", "complexity"]
    assert by_name["coherency"].agreement == pytest.approx(1)
    assert by_name["complexity"].agreement == pytest.approx(-1)
    assert by_name["coherency"].interval == pytest.approx((1, 1))
    wanted = stats.kendalltau(truth, sparseness).statistic
    assert by_name["sparseness"].agreement == pytest.approx(wanted)
    assert by_name["sparseness"].reference_agreement == pytest.approx(-1)
    # Of the 2 x 5 pairs of a reference and an uninformative map: 0.9 against 0.9 is a tie.
    assert by_name["sparseness"].auc == pytest.approx(9.5 / 10)
    assert by_name["coherency"].auc == 1 and by_name["complexity"].auc == 0
    assert by_name["sparseness"].fakecam_rank == 8 and by_name["complexity"].fakecam_rank == 4


def test_only_metrics_of_the_ground_truth_give_the_true_order() -> None:
    plan = validation_plan(REFERENCES, ["complexity"])
    with pytest.raises(OptionError, match="the true order is given by best_iou"):
        assess_metrics(stored({}, []), plan, "adcc", RESAMPLING)
