"""Classifiers with every kind of input and output that exporters produce."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small
from onnx import TensorProto, helper, numpy_helper

import adcc_onnx as adcc
from adcc_onnx.errors import ModelError, NoClassScoresError
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.graph.loading.saving import save
from adcc_onnx.graph.programs.expose import expose_graph
from adcc_onnx.graph.programs.tensor_names import GRADIENTS, IMAGE, LOGITS, TARGET
from adcc_onnx.model import Model, load
from adcc_onnx.runtime.passes import Pass

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((3, 3, 8, 8)).astype(np.float32)
HEAD = "flat = Flatten (pooled) logits = Gemm <transB = 1> (flat, weights)"


def loaded(model: onnx.ModelProto, folder: Path, **options: object) -> Model:
    onnx.save(model, folder / "net.onnx")
    return load(folder / "net.onnx", device="cpu", **options)  # type: ignore[arg-type]


def reference() -> np.ndarray:
    """Return the logits of the unmodified small model."""
    session = onnxruntime.InferenceSession(
        small().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": IMAGES})[0]


def p_of(model: Model, images: np.ndarray = IMAGES) -> np.ndarray:
    """The probability of class 2 as the evaluator finds it."""
    logits = model.pool.session(Pass.FORWARD).run({IMAGE: images})[LOGITS]
    return probabilities(logits, np.full(len(images), 2), model.classifier.scores_kind)


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("logits", "scores = Identity (logits)"),
        ("probabilities", "scores = Softmax <axis = 1> (logits)"),
        ("log-probabilities", "scores = LogSoftmax <axis = 1> (logits)"),
    ],
)
def test_the_same_probability_from_every_kind_of_score(kind: str, end: str, tmp_path: Path) -> None:
    model = loaded(small(f"{HEAD} {end}"), tmp_path)
    assert model.classifier.scores_kind == kind
    powers = np.exp(reference().astype(np.float64))
    np.testing.assert_allclose(p_of(model), (powers / powers.sum(1, keepdims=True))[:, 2], 1e-6)


def test_a_multi_label_model(tmp_path: Path) -> None:
    model = loaded(small(f"{HEAD} scores = Sigmoid (logits)"), tmp_path)
    assert model.classifier.scores_kind == "sigmoid"
    np.testing.assert_allclose(p_of(model), 1 / (1 + np.exp(-reference()[:, 2])), rtol=1e-6)
    result = adcc.evaluate(model, IMAGES, ["gradcam", "scorecam"], target=2)
    assert not result.failures


def test_the_card_declares_probabilities_without_a_softmax_node(tmp_path: Path) -> None:
    """Softmax as separate operators: exp(x) / sum exp(x)."""
    end = """powers = Exp (logits) axis = Constant <value = int64[1] {1}> ()
      total = ReduceSum (powers, axis) scores = Div (powers, total)"""
    (tmp_path / "net.toml").write_text('scores = "probabilities"\n')
    model = loaded(small(f"{HEAD} {end}"), tmp_path)
    powers = np.exp(reference().astype(np.float64))
    np.testing.assert_allclose(p_of(model), (powers / powers.sum(1, keepdims=True))[:, 2], 1e-5)


def test_the_scores_among_several_outputs(tmp_path: Path) -> None:
    proto = small(f"{HEAD} other = Relu (flat) scores = Softmax <axis = 1> (logits)")
    for name, width in (("other", 4), ("logits", 5)):
        extra = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        proto.graph.output.insert(0, extra)
    assert loaded(proto, tmp_path).classifier.scores.name == "scores"
    named = loaded(proto, tmp_path, scores_output="other")
    assert (named.classifier.scores.name, named.classifier.classes) == ("other", 4)
    with pytest.raises(NoClassScoresError, match="no output 'othr'; did you mean 'other'"):
        loaded(proto, tmp_path, scores_output="othr")
    exposed = adcc.expose(proto, ["active"], scores_output="other")
    assert [v.name for v in exposed.graph.output][:3] == ["logits", "other", "scores"]


def test_a_background_class_shifts_numeric_labels(tmp_path: Path) -> None:
    proto = small()
    weights = RNG.standard_normal((1001, 4)).astype(np.float32)
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(weights, "weights"))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1001
    model = loaded(proto, tmp_path)
    logits = model.pool.session(Pass.FORWARD).run({IMAGE: IMAGES})[LOGITS]
    np.savez(tmp_path / "x.npz", x=IMAGES, label=logits[:, 1:].argmax(1))
    right = (logits.argmax(1) == logits[:, 1:].argmax(1) + 1).mean()
    result = adcc.evaluate(model, tmp_path / "x.npz", ["gradcam"])
    assert result.top1 == right


def uint8_model() -> onnx.ModelProto:
    """Return a model that takes pixels in [0, 255] and scales them itself."""
    proto = small()
    proto.graph.input[0].name = "pixels"
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    proto.graph.node[0].input[0] = "scaled"
    proto.graph.node.insert(0, helper.make_node("Mul", ["real", "factor"], ["scaled"]))
    proto.graph.node.insert(0, helper.make_node("Cast", ["pixels"], ["real"], to=1))
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "factor"))
    return proto


def test_uint8_pixels_as_input(tmp_path: Path) -> None:
    model = loaded(uint8_model(), tmp_path)
    pixels = RNG.integers(0, 256, (4, 3, 8, 8)).astype(np.uint8)
    session = onnxruntime.InferenceSession(
        tmp_path / "net.onnx", providers=["CPUExecutionProvider"]
    )
    whole = model.pool.session(Pass.FORWARD).run({IMAGE: pixels.astype(np.float32)})[LOGITS]
    np.testing.assert_allclose(whole, session.run(None, {"pixels": pixels})[0], rtol=1e-5)
    # Halfway between two whole numbers, a linear first layer is halfway between their scores.
    exact = load(tmp_path / "net.onnx", device="cpu", layers="features")
    feeds = [{IMAGE: pixels + np.float32(d)} for d in (0.0, 0.5, 1.0)]
    low, middle, high = (exact.pool.session(Pass.ACTIVATIONS).run(f)["activations"] for f in feeds)
    np.testing.assert_allclose(middle, (low + high) / 2, rtol=1e-3, atol=1e-4)
    exposed = adcc.expose(uint8_model(), ["active"])
    onnx.checker.check_model(exposed, full_check=True)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32_on_the_cpu(kind: str, tmp_path: Path) -> None:
    proto = small(kind=kind)
    rounded = small()
    for tensor, plain in zip(proto.graph.initializer, rounded.graph.initializer, strict=True):
        values = numpy_helper.to_array(tensor).astype(np.float32)
        plain.CopyFrom(numpy_helper.from_array(values, plain.name))
    model = loaded(proto, tmp_path)
    feeds = {IMAGE: IMAGES, TARGET: np.array([0, 1, 2])}
    found = model.pool.session(Pass.GRADIENTS).run(feeds)
    session = onnxruntime.InferenceSession(
        rounded.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits = session.run(None, {"image": IMAGES})[0]
    np.testing.assert_allclose(found[LOGITS], logits, atol=1e-6 * np.abs(logits).max())
    assert model.describe()["precision"] == "float"
    weights = numpy_helper.to_array(rounded.graph.initializer[1])[:3]
    wanted = np.broadcast_to(weights[:, :, None, None] / 64, found[GRADIENTS].shape)
    np.testing.assert_allclose(found[GRADIENTS], wanted, rtol=1e-6)


@pytest.mark.parametrize("opset", [*range(7, 26)])
def test_every_opset(opset: int, tmp_path: Path) -> None:
    proto = small("softmax", opset=opset)
    if opset < 9:
        # Before IR version 4, initializers had to be inputs too.
        proto.ir_version = 3
        for tensor in proto.graph.initializer:
            proto.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    model = loaded(proto, tmp_path)
    feeds = {IMAGE: IMAGES, TARGET: np.array([0, 1, 2])}
    found = model.pool.session(Pass.GRADIENTS).run(feeds)
    np.testing.assert_allclose(found[LOGITS], reference(), rtol=1e-5, atol=1e-6)
    exposed = adcc.expose(proto)
    onnx.checker.check_model(exposed, full_check=True)


def test_pooled_channels_are_class_scores(tmp_path: Path) -> None:
    proto = small("scores = Identity (pooled)")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert loaded(proto, tmp_path).classifier.classes == 4


def test_a_model_without_class_scores_raises(tmp_path: Path) -> None:
    proto = small("scores = ReduceMax <keepdims = 0> (active)")  # one number for all images
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(NoClassScoresError, match="no output of the model"):
        loaded(proto, tmp_path)


@pytest.mark.slow
def test_a_model_of_more_than_two_gibibytes(tmp_path: Path) -> None:
    """A model with external weights is read, exposed, saved and run."""
    height, classes = 265, 1000
    width = 4 * height * 508
    proto = small("flat = Flatten (active) scores = Gemm <transB = 1> (flat, weights)")
    for value, dims in (
        (proto.graph.input[0], (3, height, 508)),
        (proto.graph.output[0], (classes,)),
    ):
        for axis, size in enumerate(dims, start=1):
            value.type.tensor_type.shape.dim[axis].dim_value = size
    del proto.graph.initializer[1]
    with (tmp_path / "weights.bin").open("wb") as stream:
        for row in range(classes):
            stream.write(np.random.default_rng(row).standard_normal(width, np.float32).tobytes())
    big = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[classes, width])
    big.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("length", str(4 * classes * width))):
        big.external_data.add(key=key, value=value)
    proto.graph.initializer.append(big)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    assert 4 * classes * width > 2**31
    model = load(tmp_path / "net.onnx", device="cpu", layers="active", batch_size=1)
    images = RNG.standard_normal((1, 3, height, 508)).astype(np.float32)
    found = model.pool.session(Pass.GRADIENTS).run({IMAGE: images, TARGET: np.array([7])})
    row = np.random.default_rng(7).standard_normal(width, np.float32)
    np.testing.assert_array_equal(found[GRADIENTS].reshape(-1), row)
    save(expose_graph(tmp_path / "net.onnx", ["active"]), tmp_path / "out.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "out.onnx", providers=["CPUExecutionProvider"]
    )
    feeds = {"image": images, "target": np.array([7])}
    (gradient,) = session.run(["active.gradient"], feeds)
    np.testing.assert_array_equal(gradient.reshape(-1), row)


def test_a_file_with_two_models_raises(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08" * 10)
    with pytest.raises(ModelError):
        load(tmp_path / "net.onnx", device="cpu")
