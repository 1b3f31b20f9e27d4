"""Gradients of published models against central differences of their last part, in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import scipy.special
from helpers.selected import slow_except
from helpers.shared_models import PRESETS, shared_model
from onnx import TensorProto, helper, numpy_helper, utils
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from adcc_onnx.graph.autodiff.gradient import path_nodes
from adcc_onnx.graph.classifier.default_layer import default_layer
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.programs.tensor_names import GRADIENTS, IMAGE, LOGITS, TARGET
from adcc_onnx.images.decoding.decode import read_image
from adcc_onnx.model import Model
from adcc_onnx.runtime.passes import Pass

STEP, ELEMENTS = 1e-4, 20
DEFAULT = ("mobilenet_v2", "SqueezeNet_fp16", "mobilenet_v1_025_keras")


class Erf(OpRun):
    """Erf in float64; that of onnx's reference evaluator rounds to float32."""

    op_domain = ""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (scipy.special.erf(x),)


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert the constants and casts of a model to float64, in place."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f":
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float64), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i in (TensorProto.FLOAT, TensorProto.FLOAT16):
                attribute.i = TensorProto.DOUBLE
    return model


def suffix_of(model: Model) -> tuple[list[str], str, ReferenceEvaluator]:
    """Return the inputs of the part after the layer (the layer first), the logits and that part."""
    classifier, layer = model.classifier, default_layer(model.classifier)
    path = path_nodes([classifier.logits], [layer.value])
    made = {value for node in path for value in node.outputs}
    reads = {v for node in path for v in node.inputs if v is not None and v.const_value is None}
    others = sorted(v.name or "" for v in reads - made - {layer.value})
    proto, starts = to_proto(classifier.model), [layer.value.name or "", *others]
    end = classifier.logits.name or ""
    known = {value.name for value in proto.graph.value_info}
    for name in {*starts, end} - known:
        proto.graph.value_info.append(helper.make_tensor_value_info(name, 1, None))
    cut = in_float64(utils.Extractor(proto).extract_model(starts, [end]))
    return starts, end, ReferenceEvaluator(cut, new_ops=[Erf])


@pytest.mark.parametrize("name", slow_except(DEFAULT, PRESETS))
def test_gradients_are_central_differences(name: str, data: Path) -> None:
    model = shared_model(data, name)
    photo = sorted((data / "photos").iterdir())[42]
    assert model.preprocessing is not None
    images = model.preprocessing(read_image(photo))[None]
    starts, end, suffix = suffix_of(model)
    (layer,) = model.layers
    logits = model.pool.session(Pass.FORWARD).run({IMAGE: images})[LOGITS]
    target = int(np.argsort(logits[0])[-2])
    outputs = model.pool.session(Pass.GRADIENTS).run({IMAGE: images, TARGET: np.array([target])})
    gradient = outputs[GRADIENTS][0]

    inputs = intermediate_values(model, images, starts)
    values = inputs[starts[0]]

    def score(value: np.ndarray) -> float:
        return float(suffix.run([end], inputs | {starts[0]: value})[0].reshape(-1)[target])

    precision = 5e-3 if "fp16" in name else 1e-4
    assert score(values) == pytest.approx(float(logits[0, target]), rel=precision, abs=precision)
    rng = np.random.default_rng(0)
    expected, actual = [], []
    for _ in range(ELEMENTS):
        k, i, j = (int(rng.integers(size)) for size in gradient.shape)
        index = index_of(layer.layout, layer.prefix_tokens, layer.grid[1], k, i, j)
        ends = []
        for sign in (1, -1):
            shifted = values.copy()
            shifted[index] += sign * STEP
            ends.append(score(shifted))
        expected.append((ends[0] - ends[1]) / (2 * STEP))
        actual.append(gradient[k, i, j])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, atol=2e-4 * scale)


def intermediate_values(
    model: Model, images: np.ndarray, names: list[str]
) -> dict[str, np.ndarray]:
    """Return intermediate values of the model, in float64 if they are floating-point numbers."""
    proto = to_proto(model.classifier.model)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    image = session.get_inputs()[0]
    x = images if model.classifier.layout == "NCHW" else images.transpose(0, 2, 3, 1)
    dtype = np.float16 if "16" in image.type else np.float32
    results = session.run(names, {image.name: x.astype(dtype)})
    converted = [r.astype(np.float64) if r.dtype.kind == "f" else r for r in results]
    return dict(zip(names, converted, strict=True))


def index_of(layout: str, prefix: int, width: int, k: int, i: int, j: int) -> tuple[int, ...]:
    """Return the index of channel k at row i and column j in a tensor of that layout."""
    token = prefix + i * width + j
    return {
        "NCHW": (0, k, i, j),
        "NHWC": (0, i, j, k),
        "NTC": (0, token, k),
        "NCT": (0, k, token),
    }[layout]
