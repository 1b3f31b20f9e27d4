"""Gradients of the real models against central differences of their tails, in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import scipy.special
from onnx import TensorProto, helper, numpy_helper, utils
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from adcc_onnx.graph.autodiff.gradient import path_nodes
from adcc_onnx.graph.classifier.layers import default_layer
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.programs.instrument import GRADIENTS, IMAGE, LOGITS, TARGET
from adcc_onnx.images.decoding.decode import read_image
from adcc_onnx.model import Model, load
from adcc_onnx.runtime.session_pool import Pass

PRESETS = {
    "mobilenet_v2": "torch",
    "deit_tiny_patch16_224": "torch",
    "bvlc_googlenet": "caffe",
    "mobilenet_v2_tf2": "tf",
    "squeezenet1.1_mxnet": "torch",
    "SqueezeNet_fp16": "caffe",
    "mobilenet_v1_025_keras": "tf",
}
STEP, ELEMENTS = 1e-4, 50


class Erf(OpRun):
    """onnx's own evaluator rounds it to float32."""

    op_domain = ""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (scipy.special.erf(x),)


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f":
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float64), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i in (TensorProto.FLOAT, TensorProto.FLOAT16):
                attribute.i = TensorProto.DOUBLE
    return model


def tail_of(model: Model) -> tuple[list[str], str, ReferenceEvaluator]:
    """(the layer and what else the rest reads, logits, the rest of the model in float64)."""
    classifier, layer = model.classifier, default_layer(model.classifier)
    path = path_nodes([classifier.logits], [layer.value])
    made = {value for node in path for value in node.outputs}
    reads = {v for node in path for v in node.inputs if v is not None and v.const_value is None}
    beside = sorted(v.name or "" for v in reads - made - {layer.value})
    proto, starts = to_proto(classifier.model), [layer.value.name or "", *beside]
    end = classifier.logits.name or ""
    known = {value.name for value in proto.graph.value_info}
    for name in {*starts, end} - known:
        proto.graph.value_info.append(helper.make_tensor_value_info(name, 1, None))
    cut = in_float64(utils.Extractor(proto).extract_model(starts, [end]))
    return starts, end, ReferenceEvaluator(cut, new_ops=[Erf])


@pytest.mark.parametrize("name", PRESETS)
def test_gradients_are_central_differences(name: str, data: Path) -> None:
    model = load(data / "models" / f"{name}.onnx", PRESETS[name], device="cpu")
    photo = sorted((data / "photos").iterdir())[42]
    assert model.preprocessing is not None
    images = model.preprocessing(read_image(photo))[None]
    starts, end, tail = tail_of(model)
    (layer,) = model.layers
    logits = model.pool.session(Pass.FORWARD).run({IMAGE: images})[LOGITS]
    target = int(np.argsort(logits[0])[-2])
    seen = model.pool.session(Pass.GRADIENTS).run({IMAGE: images, TARGET: np.array([target])})
    gradient = seen[GRADIENTS][0]

    inside = unfolded(model, images, starts)
    values = inside[starts[0]]

    def score(value: np.ndarray) -> float:
        return float(tail.run([end], inside | {starts[0]: value})[0].reshape(-1)[target])

    precision = 5e-3 if "fp16" in name else 1e-4
    assert score(values) == pytest.approx(float(logits[0, target]), rel=precision, abs=precision)
    rng = np.random.default_rng(0)
    wanted, found = [], []
    for _ in range(ELEMENTS):
        k, i, j = (int(rng.integers(size)) for size in gradient.shape)
        place = index_of(layer.layout, layer.prefix, layer.grid[1], k, i, j)
        ends = []
        for sign in (1, -1):
            moved = values.copy()
            moved[place] += sign * STEP
            ends.append(score(moved))
        wanted.append((ends[0] - ends[1]) / (2 * STEP))
        found.append(gradient[k, i, j])
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, atol=2e-4 * scale)


def unfolded(model: Model, images: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Values as they stand in the model, real ones in float64."""
    proto = to_proto(model.classifier.model)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    own = session.get_inputs()[0]
    x = images if model.classifier.layout == "NCHW" else images.transpose(0, 2, 3, 1)
    kind = np.float16 if "16" in own.type else np.float32
    results = session.run(names, {own.name: x.astype(kind)})
    wide = [r.astype(np.float64) if r.dtype.kind == "f" else r for r in results]
    return dict(zip(names, wide, strict=True))


def index_of(layout: str, prefix: int, width: int, k: int, i: int, j: int) -> tuple[int, ...]:
    token = prefix + i * width + j
    return {
        "NCHW": (0, k, i, j),
        "NHWC": (0, i, j, k),
        "NTC": (0, token, k),
        "NCT": (0, k, token),
    }[layout]
