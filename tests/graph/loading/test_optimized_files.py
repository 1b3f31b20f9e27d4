"""Files that onnxruntime saved after optimizing them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.errors import ModelError

IMAGES = np.random.default_rng(1).standard_normal((3, 3, 8, 8)).astype(np.float32)
LEVEL = onnxruntime.GraphOptimizationLevel


def optimized(level: onnxruntime.GraphOptimizationLevel, path: Path) -> Path:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(
        small("softmax").SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return path


@pytest.mark.parametrize(
    "level", [LEVEL.ORT_DISABLE_ALL, LEVEL.ORT_ENABLE_BASIC, LEVEL.ORT_ENABLE_EXTENDED]
)
def test_optimized_files_have_the_maps_of_the_original(level: int, tmp_path: Path) -> None:
    path = optimized(level, tmp_path / "net.onnx")
    models = [adcc.load(one, device="cpu") for one in (path, small("softmax"))]
    assert [model.layers[0].name for model in models] == ["active", "active"]
    maps = [adcc.explain(model, IMAGES, "gradcam", target=1).maps for model in models]
    np.testing.assert_allclose(*maps, atol=1e-6)


def test_blocks_of_channels_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = optimized(LEVEL.ORT_ENABLE_ALL, tmp_path / "net.onnx")
    domains = {node.domain for node in onnx.load(path).graph.node}
    if "com.microsoft.nchwc" not in domains:
        pytest.skip("onnxruntime has no blocked kernels on this CPU")
    with pytest.raises(ModelError, match="save it with ORT_ENABLE_EXTENDED"):
        adcc.load(path, device="cpu")
