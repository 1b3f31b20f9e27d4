"""Maps that OpenVINO computes, where onnxruntime-openvino is installed."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.graph.programs.tensor_names import GRADIENTS, IMAGE, LOGITS, TARGET
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.precisions import machine_precisions

if "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers():
    pytest.skip("onnxruntime-openvino is not installed", allow_module_level=True)


@pytest.mark.parametrize("method", ["gradcam", "layercam", "scorecam", "saliency"])
def test_maps_equal_those_of_the_cpu_provider(method: str) -> None:
    images = np.random.default_rng(0).random((4, 3, 112, 112), np.float32)
    found, expected = (
        adcc.explain(adcc.load(classifier_path(), device=device), images, method).maps
        for device in ("openvino", "cpu")
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


def logits_and_gradients(model: Model, exact: bool) -> tuple[Float32Array, Float32Array]:
    images = np.random.default_rng(0).random((4, 3, 112, 112), np.float32)
    session = model.pool.session(Pass.GRADIENTS, exact=exact)
    found = session.run({IMAGE: images, TARGET: np.arange(4)})
    return found[LOGITS], found[GRADIENTS]


def test_bfloat16_takes_effect() -> None:
    if not next(one for one in machine_precisions() if one.name == "bf16").available:
        pytest.skip("the CPU has no bf16 instructions")
    model = adcc.load(classifier_path(), precision="bf16")
    assert (model.device.name, model.precision) == ("openvino:CPU", "bfloat16")
    exact, rounded = logits_and_gradients(model, True), logits_and_gradients(model, False)
    spread = float(np.abs(exact[0]).max())
    # A bfloat16 has 8 significant bits.
    assert 2**-12 * spread < float(np.abs(exact[0] - rounded[0]).max()) < 2**-4 * spread
    np.testing.assert_allclose(exact[1], rounded[1], atol=2**-7 * float(np.abs(exact[1]).max()))
    images = np.random.default_rng(1).random((20, 3, 112, 112), np.float32)
    found = adcc.evaluate(classifier_path(), images, "gradcam", precision="bf16", anchor=10)
    assert found.anchors is not None and found.anchors.precision == "bfloat16"
    assert abs(found.anchors.corrections["gradcam"]["adcc"]) < 0.02


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_integers_of_openvino_and_of_onnxruntime(device: str) -> None:
    images = np.random.default_rng(0).random((12, 3, 112, 112), np.float32)
    exact = adcc.evaluate(classifier_path(), images, "gradcam", device="cpu")
    found = adcc.evaluate(classifier_path(), images, "gradcam", device=device, precision="int8")
    scores = found.methods["gradcam"].scores
    for name, value in exact.methods["gradcam"].scores.items():
        if name != "average_increase":  # flips at equal probabilities
            assert scores[name] == pytest.approx(value, abs=0.02)
