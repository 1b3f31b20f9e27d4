"""Operators in training mode: those of weights keep their own statistics."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import numpy_helper

from adcc_onnx.graph.passes.prepare import prepare

_STANDARDIZED = """
<ir_version: 8, opset_import: ["" : 17]>
network (float[batch,3,8,8] image) => (float[batch,4] scores) {
  level, m, v = BatchNormalization <training_mode = 1> (flat, ones, zeros, zeros, ones)
  own_shape = Constant <value = int64[4] {4, 3, 3, 3}> ()
  kernel = Reshape (level, own_shape)
  maps = Conv (image, kernel)
  mean = GlobalAveragePool (maps)
  scores = Flatten (mean)
}
"""


def test_weight_standardization_is_no_training() -> None:
    """Exporters write it as a batch normalization of the weights, with dummy statistics."""
    rng = np.random.default_rng(0)
    flat = rng.normal(2, 3, (1, 4, 27)).astype(np.float32)
    model = onnx.parser.parse_model(_STANDARDIZED)
    weights = {"flat": flat, "ones": np.ones(4, np.float32), "zeros": np.zeros(4, np.float32)}
    for name, values in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepared = ir.to_proto(prepare(ir.from_proto(model)))
    session = onnxruntime.InferenceSession(prepared.SerializeToString())
    image = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    (scores,) = session.run(None, {"image": image})

    wide = flat.astype(np.float64)
    kernel = (wide - wide.mean(2, keepdims=True)) / np.sqrt(wide.var(2, keepdims=True) + 1e-5)
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), (2, 3))
    wanted = np.einsum("nchwij,kcij->nk", windows, kernel.reshape(4, 3, 3, 3)) / 36
    np.testing.assert_allclose(scores, wanted, atol=1e-5)
