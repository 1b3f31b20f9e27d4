"""The protocols differ where the mask is applied: to the tensor, or to the raw picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from scipy.special import softmax
from scipy.stats import hmean

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError, PreprocessingError
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.evaluation.protocols import PROTOCOLS, fill_of
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.model import Model

METHODS = ["gradcam", "center"]


@pytest.fixture(scope="module")
def model() -> Model:
    return adcc.load(classifier_path(), device="cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for record in as_source("drawings:6"):
        Image.fromarray(record.load()).save(folder / f"{record.name}.png")
    return folder


def drops(model: Model, pictures: Path, method: str, raw: bool) -> np.ndarray:
    """Average drop of each picture, the mask laid over the pixels or over the tensor."""
    session = onnxruntime.InferenceSession(classifier_path(), providers=["CPUExecutionProvider"])
    name, values = session.get_inputs()[0].name, []
    for path in sorted(pictures.iterdir()):
        picture = np.asarray(Image.open(path), np.float64)
        given = model.preprocessing
        normalize = lambda p, g=given: (p / g.scale - np.array(g.mean)) / np.array(g.std)  # noqa: E731
        heatmap = adcc.explain(model, [path], method).maps[0].astype(np.float64)[..., None]
        masked = normalize(picture * heatmap) if raw else normalize(picture) * heatmap
        batch = np.stack([normalize(picture), masked]).transpose(0, 3, 1, 2).astype(np.float32)
        p = softmax(session.run(None, {name: batch})[0].astype(np.float64), axis=1)
        chosen = p[0].argmax()
        values.append(max(0.0, p[0, chosen] - p[1, chosen]) / p[0, chosen])
    return np.array(values)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_where_the_mask_is_applied(model: Model, pictures: Path, protocol: str) -> None:
    found = adcc.evaluate(model, pictures, METHODS, protocol=protocol).methods
    for method in METHODS:
        scores = found[method].scores
        wanted = drops(model, pictures, method, raw=protocol == "openvino")
        assert scores["average_drop"] == pytest.approx(wanted.mean(), abs=1e-5)
        terms = scores["coherency"], 1 - scores["complexity"], 1 - scores["average_drop"]
        assert scores["adcc"] == pytest.approx(hmean(terms), rel=1e-9)


def test_the_protocols_differ_on_a_model_whose_zero_is_not_black(
    model: Model, pictures: Path
) -> None:
    assert any(m != 0 for m in model.preprocessing.mean)
    ours, theirs = (
        adcc.evaluate(model, pictures, ["gradcam"], protocol=protocol).methods["gradcam"].scores
        for protocol in PROTOCOLS
    )
    assert abs(ours["average_drop"] - theirs["average_drop"]) > 1e-3


def test_every_knob_of_a_protocol_can_be_turned_by_itself() -> None:
    assert fill_of("poppi2021") == "zero" and fill_of("openvino") == "black"
    assert fill_of("poppi2021", "black") == "black" and fill_of("openvino", "zero") == "zero"
    plan = make_plan(metrics=["insertion", "deletion(steps=9)", "adcc"], baseline="zero", steps=5)
    assert list(plan.metrics) == ["insertion(baseline=zero, steps=5)", "deletion(steps=9)", "adcc"]


def test_what_a_protocol_refuses(model: Model) -> None:
    tensors = np.zeros((2, 3, *model.size), np.float32)
    with pytest.raises(PreprocessingError, match="ready tensors have no black pixels"):
        adcc.evaluate(model, tensors, protocol="openvino")
    with pytest.raises(OptionError, match="did you mean 'poppi2021'"):
        make_plan(protocol="poppi")
    with pytest.raises(OptionError, match="zero or black, not 'white'"):
        make_plan(fill="white")
    with pytest.raises(OptionError, match="baseline must be 'zero' or 'blur' or 'mean'"):
        make_plan(metrics=["deletion"], baseline="gray")
