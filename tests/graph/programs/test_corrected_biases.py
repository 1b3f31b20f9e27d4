"""Biases of quantized convolutions, against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import adcc_onnx as adcc
from adcc_onnx.errors import ModelError
from adcc_onnx.graph.programs.tensor_names import ACTIVATIONS, IMAGE
from adcc_onnx.runtime.calibration import Calibration
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.precisions import machine_precisions

torch = pytest.importorskip("torch")
if not next(one for one in machine_precisions() if one.name == "int8").available:
    pytest.skip("the CPU has no 8-bit dot product", allow_module_level=True)

_TEXT = """
<ir_version: 8, opset_import: ["" : 18]>
classifier (float[batch,4,9,9] image) => (float[batch,5] scores) {
  features = Conv <group = GROUPS> (image, kernel, bias)
  pooled = GlobalAveragePool (features)
  flat = Flatten (pooled)
  scores = Gemm <transB = 1> (flat, weights)
}
"""
RNG = np.random.default_rng(0)
# Positive, so that errors of weights add up.
IMAGES = RNG.random((16, 4, 9, 9)).astype(np.float32)


def network(groups: int) -> tuple[onnx.ModelProto, list[NDArray[np.float32]]]:
    """Return a classifier and the weights and biases of its convolution."""
    model = onnx.parser.parse_model(_TEXT.replace("GROUPS", str(groups)))
    shapes = {"kernel": (8, 4 // groups, 3, 3), "bias": (8,), "weights": (5, 8)}
    arrays = {n: RNG.standard_normal(shape).astype(np.float32) for n, shape in shapes.items()}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return model, [arrays["kernel"], arrays["bias"]]


def channel_means(model: adcc.Model) -> Any:
    """Return the mean of each channel of the layer over all images, by the integer pass."""
    session = model.pool.session(Pass.ACTIVATIONS)
    return session.run({IMAGE: IMAGES})[ACTIVATIONS].mean(axis=(0, 2, 3))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_mean_of_every_channel_is_that_of_the_convolution_in_float32(groups: int) -> None:
    proto, (kernel, bias) = network(groups)
    exact = torch.nn.functional.conv2d(
        torch.tensor(IMAGES), torch.tensor(kernel), torch.tensor(bias), groups=groups
    ).numpy()
    expected, step = exact.mean(axis=(0, 2, 3)), np.ptp(exact) / 255
    options: dict[str, Any] = {"layers": "features", "device": "cpu", "precision": "int8"}
    found = adcc.load(proto, **options).calibrated(IMAGES)
    assert found.calibration is not None
    np.testing.assert_allclose(
        found.calibration.means["image"], IMAGES.mean(axis=(0, 2, 3)), rtol=1e-5
    )
    plain = found.with_calibration(Calibration(16, found.calibration.ranges))
    errors = [np.abs(channel_means(one) - expected) for one in (found, plain)]
    assert errors[0].max() < 0.1 * step < errors[1].max()


def test_means_of_another_model_are_refused() -> None:
    model = adcc.load(network(1)[0], device="cpu", precision="int8").calibrated(IMAGES)
    assert model.calibration is not None
    means = {"image": np.ones(3, np.float32)}
    other = model.with_calibration(Calibration(16, model.calibration.ranges, means))
    with pytest.raises(ModelError, match="that of another model"):
        other.pool.session(Pass.FORWARD)


def test_statistics_that_are_not_finite_are_left_out() -> None:
    images = IMAGES.copy()
    images[3, 1, 4, 4] = np.inf
    model = adcc.load(network(1)[0], device="cpu", precision="int8").calibrated(images)
    assert model.calibration is not None
    assert "image" not in model.calibration.means
    assert all(np.isfinite(pair).all() for pair in model.calibration.ranges.values())
