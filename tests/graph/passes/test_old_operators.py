"""The experimental operators of early ONNX equal their definition in torch, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small
from onnx import helper, numpy_helper

import adcc_onnx as adcc
from adcc_onnx.errors import ModelError

torch = pytest.importorskip("torch")
X = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
# The operator with its attributes, and its definition.
OPERATORS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "ImageScaler": (
        {"scale": 0.5, "bias": [0.1, -0.2, 0.3]},
        lambda x: 0.5 * x + torch.tensor([0.1, -0.2, 0.3])[:, None, None],
    ),
    "Affine": ({"alpha": 1.5, "beta": -0.25}, lambda x: 1.5 * x - 0.25),
    "ParametricSoftplus": (
        {"alpha": 0.7, "beta": 1.3},
        lambda x: 0.7 * torch.log(torch.exp(1.3 * x) + 1),
    ),
    "ScaledTanh": ({"alpha": 0.7, "beta": 1.3}, lambda x: 0.7 * torch.tanh(1.3 * x)),
    "ThresholdedRelu": ({"alpha": 0.4}, lambda x: x * (x > 0.4)),
    "MeanVarianceNormalization": (
        {"across_channels": 1, "normalize_variance": 1},
        lambda x: (
            (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), correction=0, keepdim=True)
        ),
    ),
    "Crop": ({"border": [1, 2, 3, 0]}, lambda x: x[:, :, 2:, 1:-3]),
}


def first_operator(name: str, opset: int, **attributes: Any) -> onnx.ModelProto:
    """Return the small model behind one more operator on its image."""
    model = small(opset=opset)
    model.graph.node[0].input[0] = "changed"
    model.graph.node.insert(0, helper.make_node(name, ["image"], ["changed"], **attributes))
    return model


@pytest.mark.parametrize("opset", [7, 9, 11])
@pytest.mark.parametrize("name", OPERATORS)
def test_old_operators(name: str, opset: int) -> None:
    attributes, definition = OPERATORS[name]
    if name == "MeanVarianceNormalization" and opset >= 9:
        attributes = {"axes": [1, 2, 3]}  # a standard operator from there on
    model = first_operator(name, opset, **attributes)
    exposed = adcc.expose(model, ["changed", "input"])
    onnx.checker.check_model(exposed, full_check=True)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs = [one.name for one in session.get_outputs()]
    feeds = {"image": X, "target": np.array([1, 3])}
    found = dict(zip(outputs, session.run(None, feeds), strict=True))
    weights = {w.name: torch.from_numpy(numpy_helper.to_array(w)) for w in model.graph.initializer}
    x = torch.from_numpy(X).requires_grad_()
    changed = definition(x)
    active = torch.nn.functional.conv2d(changed, weights["kernel"], padding=1).relu()
    scores = active.mean((2, 3)) @ weights["weights"].T
    (gradient,) = torch.autograd.grad(scores[0, 1] + scores[1, 3], x)
    np.testing.assert_allclose(found["changed.activation"], changed.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["scores"], scores.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["input.gradient"], gradient, rtol=1e-4, atol=1e-6)


def test_a_crop_to_a_size() -> None:
    model = first_operator("Crop", 7, border=[1, 2, 0, 0], scale=[4, 5])
    (layer,) = adcc.load(model, device="cpu", layers="changed").layers
    assert layer.grid == (4, 5)


def test_unknown_old_operators_are_refused() -> None:
    with pytest.raises(ModelError, match=r"operator GRUUnit .* is an experimental operator"):
        adcc.load(first_operator("GRUUnit", 7), device="cpu")


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [7, 8, 9, 10])
def test_upsampling_keeps_its_coordinates(opset: int, mode: str) -> None:
    """Before opset 11, the pixels of the result start at the first pixel of the input."""
    head = """{up} pool = GlobalAveragePool (large) flat = Flatten (pool)
      scores = Gemm <transB = 1> (flat, weights, bias)"""
    scales = numpy_helper.from_array(np.array([1, 1, 2, 3], np.float32), "scales")
    attribute = f'mode = "{mode}"' + (", scales = [1.0, 1.0, 2.0, 3.0]" if opset < 9 else "")
    inputs = "active" if opset < 9 else "active, scales"
    operator = "Resize" if opset == 10 else "Upsample"
    model = small(head.format(up=f"large = {operator} <{attribute}> ({inputs})"), opset=opset)
    bias = numpy_helper.from_array(np.zeros(5, np.float32), "bias")
    model.graph.initializer.extend([scales, bias])
    exposed = adcc.expose(model, ["large"])
    onnx.checker.check_model(exposed, full_check=True)
    model.graph.output.append(
        helper.make_tensor_value_info("large", onnx.TensorProto.FLOAT, ["batch", 4, 16, 24])
    )
    theirs, ours = (
        onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
        for one in (model, exposed)
    )
    scores, large = theirs.run(["scores", "large"], {"image": X})
    feeds = {"image": X, "target": np.array([0, 1])}
    found = ours.run(["scores", "large.activation"], feeds)
    np.testing.assert_allclose(found[0], scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], large, rtol=1e-5, atol=1e-6)


# As Caffe2, CNTK and Core ML converters wrote models: initializers are inputs, operators broadcast
# from a given axis, and sizes are attributes.
OLD = """<ir_version: 3, opset_import: ["" : {opset}]>
net (float[1,3,8,8] image, float[4,3,3,3] kernel, float[4] bias, float[4] scale, float[4] shift,
     float[4] mean, float[4] variance, float[5,64] weights, float[5] offsets)
     => (float[1,5] scores) {{
  features = Conv <pads = [1, 1, 1, 1]> (image, kernel)
  biased = Add <broadcast = 1, axis = 1> (features, bias)
  normal = BatchNormalization <epsilon = 0.01, is_test = 1, spatial = 1{consumed}>
    (biased, scale, shift, mean, variance)
  active = LeakyRelu <alpha = 0.1> (normal)
  halves = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (active)
  kept = Dropout <is_test = 1, ratio = 0.5> (halves)
  flat = Reshape <shape = [1, -1]> (kept)
  logits = Gemm <transB = 1, broadcast = 1> (flat, weights, offsets)
  scores = Softmax (logits)
}}"""


@pytest.mark.parametrize("opset", [1, 2, 3, 4])
def test_models_of_the_first_opsets_equal_torch(opset: int) -> None:
    consumed = ", consumed_inputs = [0, 0, 0, 1, 1]" if opset < 6 else ""
    model = onnx.parser.parse_model(OLD.format(opset=opset, consumed=consumed))
    rng = np.random.default_rng(4)
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input
    }
    w = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    w["variance"] = np.abs(w["variance"])
    del w["image"]
    model.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in w.items())
    assert adcc.inspect(model)["default"]["name"] == "kept"
    session = onnxruntime.InferenceSession(
        adcc.expose(model, "features").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    t = {name: torch.from_numpy(value) for name, value in w.items()}
    x = torch.from_numpy(X[:1])
    features = torch.nn.functional.conv2d(x, t["kernel"], padding=1).requires_grad_()
    normal = torch.nn.functional.batch_norm(
        features + t["bias"][:, None, None], t["mean"], t["variance"], t["scale"], t["shift"],
        eps=0.01,
    )  # fmt: skip
    active = torch.nn.functional.leaky_relu(normal, 0.1)
    logits = torch.nn.functional.avg_pool2d(active, 2).flatten(1) @ t["weights"].T + t["offsets"]
    (gradient,) = torch.autograd.grad(logits[0, 2], features)
    feeds = {"image": X[:1], "target": np.array([2])}
    found = session.run(["scores", "features.gradient"], feeds)
    np.testing.assert_allclose(found[0], logits.softmax(1).detach(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-4, atol=1e-6)


def test_an_operator_that_cannot_be_upgraded_is_named() -> None:
    model = small("flat = Flatten (pooled) scores = Gemm <transB = 1> (flat, weights)", opset=7)
    model.graph.node[0].input[0] = "seen"
    model.graph.node.insert(
        0, helper.make_node("Scan", ["image"], ["seen"], num_scan_inputs=1, directions=[0])
    )
    with pytest.raises(ModelError) as caught:
        adcc.load(model, device="cpu")
    assert "Scan" in str(caught.value) and "/project/" not in str(caught.value)


def test_one_row_declared_for_any_number_of_images_is_inferred() -> None:
    """As converters of Core ML models write it."""
    model = small(batch="None")
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    found = adcc.explain(model, X, device="cpu")
    np.testing.assert_array_equal(found.maps, adcc.explain(small(), X, device="cpu").maps)
