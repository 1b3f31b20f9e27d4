"""The real models of ADCC_TEST_DATA, each of which is loaded once for all tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import adcc_onnx as adcc
from adcc_onnx.model import Model

# Name: preprocessing.
PRESETS = {
    "SqueezeNet_fp16": "caffe",
    "bvlc_googlenet": "caffe",
    "deit_tiny_patch16_224": "torch",
    "mobilenet_v1_025_keras": "tf",
    "mobilenet_v2": "torch",
    "mobilenet_v2_tf2": "tf",
    "squeezenet1.1_mxnet": "torch",
}


@cache
def shared_model(data: Path, name: str) -> Model:
    """Return a model with its default layer on the CPU; it is immutable, and its sessions stay."""
    return adcc.load(data / "models" / f"{name}.onnx", PRESETS[name], device="cpu")
