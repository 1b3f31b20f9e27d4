"""The randomization test: which methods fail it, which pass, and what it compares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.graph.programs.randomize_weights import randomize_weights, weight_names_from_top
from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.model import Model
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.studies.randomization import randomization_check


@pytest.fixture(scope="module")
def model() -> Model:
    return adcc.load(classifier_path(), device="cpu")


def test_maps_of_gradcam_change_and_those_of_controls_do_not(model: Model) -> None:
    plan = make_plan(["gradcam", "fakecam", "center"])
    steps = list(randomization_check(model, as_source("drawings:12"), plan, steps=3))
    weights = len(weight_names_from_top(model.classifier))
    assert [step.weights for step in steps] == [round(weights * k / 3) for k in (1, 2, 3)]
    for step in steps:
        assert step.similarity["fakecam"] == step.similarity["center"] == pytest.approx(1)
        assert abs(step.similarity["gradcam"]) < 0.5


def test_similarity_is_the_mean_correlation_for_the_same_class(model: Model) -> None:
    source = as_source("drawings:5")
    plan = make_plan(["gradcam"], seed=4)
    *_, last = randomization_check(model, source, plan, steps=1)
    images = np.stack([model.preprocessing(record.load()) for record in source])
    original = adcc.explain(model, images).maps
    predicted = model.pool.session(Pass.FORWARD).run({IMAGE: images})[LOGITS].argmax(axis=1)
    names = weight_names_from_top(model.classifier)
    drawn = model.with_classifier(randomize_weights(model.classifier, names, 4))
    found = adcc.explain(drawn, images, target=predicted).maps
    wanted = [
        0.0 if np.ptp(b) == 0 else stats.pearsonr(a.ravel(), b.ravel()).statistic
        for a, b in zip(original, found, strict=True)
    ]
    assert last.similarity["gradcam"] == pytest.approx(np.mean(wanted), abs=1e-6)


def test_invalid_options(model: Model) -> None:
    source = as_source("drawings:2")
    with pytest.raises(OptionError, match="steps must be at least 1"):
        next(randomization_check(model, source, make_plan(), steps=0))
    with pytest.raises(OptionError, match="explains the predicted class"):
        next(randomization_check(model, source, make_plan(target="label")))
