"""The estimate of a run: its passes are those that the run then takes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.evaluation.cost_estimate import Estimate, estimate, long_run_notice
from adcc_onnx.evaluation.pipeline import evaluate_into
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.passes import Pass

METHODS = [
    "gradcam", "fakecam", "smoothgradcam++(n=3)", "reciprocam", "groupcam(groups=4)",
    "opticam(steps=3)", "rise(masks=10)", "saliency", "smoothgrad(n=2)",
    "integratedgradients(steps=4)", "finercam",
]  # fmt: skip
METRICS = ["adcc", "insertion(steps=7)", "deletion(steps=5)", "road", "infidelity(samples=6)"]


@pytest.mark.parametrize(
    ("methods", "metrics"),
    [
        (["gradcam", "smoothgradcam++(n=3)", "rise(masks=10)", "saliency"], METRICS),
        (METHODS, ["max_sensitivity(samples=2)"]),
        (METHODS, ["average_drop"]),
    ],
    ids=["metrics", "sensitivity", "methods"],
)
def test_the_passes_are_those_of_the_run(methods: list[str], metrics: list[str]) -> None:
    model = adcc.load(classifier_path(), device="cpu", batch_size=2)
    plan, source = make_plan(methods, metrics), as_source("drawings:2")
    found = estimate(model, plan)
    tracker = RunTracker("net", 2)
    tracker.expected = found.expected
    before = tracker.snapshot().expected_passes
    with Store.create(None) as store:
        evaluate_into(store, model, source, plan, "drawings", tracker)
    after = tracker.snapshot()
    assert after.passes == after.expected_passes == before
    assert found.seconds.keys() >= set(found.expected.passes) - {Pass.FORWARD, Pass.ACTIVATIONS}


def test_methods_that_skip_channels() -> None:
    """The constant channels of an image, which these methods skip, are not known beforehand."""
    model = adcc.load(classifier_path(), device="cpu")
    methods = ["scorecam", "ablationcam", "scorecam(passes=8)"]
    found = estimate(model, make_plan(methods, ["average_drop"])).methods
    channels = model.layers[0].channels
    assert channels / 2 < found["scorecam"][Pass.MASKED] <= channels
    assert channels / 2 < found["ablationcam"][Pass.SUFFIX] <= channels
    assert found["scorecam(passes=8)"][Pass.MASKED] == 8


def test_a_method_that_refuses_random_scores_counts_as_none() -> None:
    class Picky(adcc.Method):
        name, family, summary = "picky", "custom", "refuses random scores"
        needs = frozenset({adcc.Need.MASKED_SCORES})

        def raw_maps(self, context: adcc.MethodContext) -> np.ndarray:
            context.masked_scores(0, np.zeros((3, 2, 2), np.float32))
            raise ValueError("not a real score")

    model = adcc.load(classifier_path(), device="cpu")
    found = estimate(model, make_plan([Picky()], ["complexity"]))
    assert found.methods["picky"] == {Pass.MASKED: 3}


def test_what_a_long_run_says() -> None:
    shared, seconds = Counter({Pass.GRADIENTS: 1}), dict.fromkeys(Pass, 0.01)
    methods = {"gradcam": Counter({Pass.GRADIENTS: 1}), "scorecam": Counter({Pass.MASKED: 998})}
    found = Estimate(shared, methods, {}, seconds)
    assert long_run_notice(found, 60) is None
    assert long_run_notice(found, 500) == (
        "this run will take about 1 h 23 min for 500 images; scorecam takes 100 % of it (998 "
        "passes per image). Faster: --method 'scorecam(passes=124)' or --limit 60"
    )
    curves = {"insertion": Counter({Pass.RANKED: 9000})}
    assert "Faster: --metric 'insertion(steps=56)' or --limit 6" in str(
        long_run_notice(Estimate(shared, methods, curves, seconds), 500)
    )
