"""Methods that run the part after the layer many times, on models of PyTorch's dynamo exporter."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import adcc_onnx

torch = pytest.importorskip("torch")

from helpers import architectures

SIDE = 64


def suffix_of(network: Any) -> Any:
    """The part of a torchvision network after its features [N, C, H, W]."""
    if hasattr(network, "classifier"):
        return lambda a: network.classifier(network.avgpool(a))
    return lambda a: network.head(network.flatten(network.avgpool(a)))


def features_of(network: Any, x: Any) -> Any:
    if hasattr(network, "classifier"):
        return network.features(x)
    return network.permute(network.norm(network.features(x)))


def full_size(values: Any) -> Any:
    """Normalize a map of the layer's resolution, and upsample it to the image."""
    scaled = (values - values.min()) / (values.max() - values.min())
    size = (SIDE, SIDE)
    return torch.nn.functional.interpolate(scaled[None, None], size, mode="bilinear")[0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin_t", "convnext_tiny"])
def test_methods_of_the_suffix(name: str, torchvision: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    x = torch.randn(1, 3, SIDE, SIDE)
    onnx.save(architectures.export(network, x.repeat(2, 1, 1, 1), dynamo=True), tmp_path / "n.onnx")
    model = adcc_onnx.load(tmp_path / "n.onnx", device="cpu", batch_size=4)
    with torch.no_grad():
        a, suffix = features_of(network, x), suffix_of(network)
        scores = suffix(a)[0]
        target = int(scores.argmax())
        lost = a.repeat(a.shape[1], 1, 1, 1)
        lost[range(a.shape[1]), range(a.shape[1])] = 0
        weights = (scores[target] - suffix(lost)[:, target]) / abs(scores[target])
        side = a.shape[2]
        kept = torch.eye(side * side).reshape(-1, 1, side, side) * a
        locations = suffix(kept)[:, target].reshape(side, side)
    wanted = {
        "ablationcam": torch.relu((weights[:, None, None] * a[0]).sum(0)),
        "reciprocam(gaussian=no)": locations,
    }
    for method, map_ in wanted.items():
        (found,) = adcc_onnx.explain(model, x.numpy(), method=method, target=target)
        assert not found.degenerate
        np.testing.assert_allclose(found.map, full_size(map_).numpy(), atol=1e-3)
