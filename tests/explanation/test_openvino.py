"""Maps that OpenVINO computes, where onnxruntime-openvino is installed."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path

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
