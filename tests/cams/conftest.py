"""A real model, photos, and the model's twin in torch; opened once for all tests of methods."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from helpers.shared_models import shared_model
from onnx import numpy_helper

from adcc_onnx.explanation.samples import tensor_of
from adcc_onnx.images.sources.open_images import open_paths
from adcc_onnx.model import Model

Array = np.ndarray


@pytest.fixture(scope="session")
def model(data: Path) -> Model:
    return shared_model(data, "mobilenet_v2")


@pytest.fixture(scope="session")
def images(model: Model, data: Path) -> Array:
    photos = sorted((data / "photos").iterdir())[10:50:10]
    return np.stack([tensor_of(record, False, model) for record in open_paths(photos)])


@pytest.fixture(scope="session")
def twin(data: Path, torchvision: ModuleType) -> Any:
    """torchvision's mobilenet_v2 with the ONNX file's weights (its batch norms are folded)."""
    torch = pytest.importorskip("torch")
    proto = onnx.load(data / "models" / "mobilenet_v2.onnx")
    tensors = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in proto.graph.initializer}
    folded = [n.input for n in proto.graph.node if n.op_type == "Conv"]
    network = torchvision.models.mobilenet_v2(weights=None).eval()
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    for convolution, (_, weight, bias) in zip(convolutions, folded, strict=True):
        convolution.weight = torch.nn.Parameter(tensors[weight])
        convolution.bias = torch.nn.Parameter(tensors[bias])
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.BatchNorm2d):
                setattr(parent, name, torch.nn.Identity())
            elif isinstance(child, torch.nn.ReLU6):
                child.inplace = False
    head = network.classifier[1]
    head.weight = torch.nn.Parameter(tensors["classifier.1.weight"])
    head.bias = torch.nn.Parameter(tensors["classifier.1.bias"])
    return network.requires_grad_(False)
