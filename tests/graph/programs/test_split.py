"""A suffix with masks of ones gives the logits of the model, whatever it reads beside the layer."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from adcc_onnx.graph.classifier.image_classifier import Classifier, read_classifier
from adcc_onnx.graph.classifier.layers import Layer, read_layer
from adcc_onnx.graph.passes.cuda_form import to_cuda_form
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.instrument import build_instrumented
from adcc_onnx.graph.programs.split import build_prefix, build_suffix
from adcc_onnx.runtime.devices import choose_device
from adcc_onnx.runtime.session import Session, SplitSession

RNG = np.random.default_rng(0)
# Beside the layer, the suffix reads a size that is computed from the image, an integer that depends
# on the batch size, and a weight that is computed from another one.
GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
g (float[batch,3,8,8] image) => (float[batch,5] scores)
<int64 zero = {0}, int64[1] first = {0}, int64[1] flat = {-1}, int64[1] four = {4}>
{
    shape = Shape (image)
    samples = Gather (shape, zero)
    rows = Unsqueeze (samples, first)
    bigger = Transpose <perm = [1, 0]> (turned)
    features = Conv <pads = [1, 1, 1, 1]> (image, kernel)
    layer = Relu (features)
    pooled = GlobalAveragePool (layer)
    sizes = Concat <axis = 0> (rows, four)
    vectors = Reshape (pooled, sizes)
    widened = MatMul (vectors, bigger)
    shown = Gather (shape, last)
    scale = Cast <to = 1> (shown)
    scaled = Div (widened, scale)
    scores = MatMul (scaled, weights)
}
"""


def classifier_and_layer() -> tuple[Classifier, Layer]:
    proto = onnx.parser.parse_model(GRAPH)
    weights = {
        "kernel": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
        # Larger than what is folded.
        "turned": RNG.standard_normal((70000, 4)).astype(np.float32),
        "weights": RNG.standard_normal((70000, 5)).astype(np.float32),
        "last": np.int64(3),
    }
    for name, value in weights.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    classifier = read_classifier(prepare(ir.from_proto(proto)))
    return classifier, read_layer(classifier, "layer")


@pytest.mark.parametrize("cuda", [False, True])
def test_masks_of_ones_give_the_logits(cuda: bool) -> None:
    classifier, layer = classifier_and_layer()
    device = choose_device("cpu")
    suffix = build_suffix(classifier, layer, one_image=cuda)
    if cuda:
        to_cuda_form(suffix)
        assert "Shape" not in {node.op_type for node in suffix.graph}
    split = SplitSession(
        Session(build_prefix(classifier, layer), device, 1), Session(suffix, device, 4)
    )
    image = RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)
    masks = np.ones((7, 4, 1, 1), np.float32)
    masks[6] = 0
    found = split.run({"masks": masks}, {"image": image})["logits"]
    whole = Session(build_instrumented(classifier), device, 1).run({"image": image})["logits"]
    np.testing.assert_allclose(found[:6], np.repeat(whole, 6, axis=0), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found[6], 0, atol=1e-6)
