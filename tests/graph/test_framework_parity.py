"""One network exported from PyTorch, Keras and JAX: the same maps, metrics and layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import one_network

import adcc_onnx as adcc
from adcc_onnx.cams.method import GradientMapMethod
from adcc_onnx.cams.method_registry import list_methods
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.model import Model
from adcc_onnx.report.model_comparison_report import comparison_to_text

pytestmark = pytest.mark.slow  # three exporters

FRAMEWORKS = {"torch": "torch", "keras": "tf2onnx", "jax": "jax2onnx"}
# Every method that reads gradients and takes few passes.
METHODS = [cls.name for cls in list_methods() if issubclass(cls, GradientMapMethod)]
METHODS += ["smoothgradcam++(n=2)", "eigengradcam", "saliency", "inputxgradient"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder, weights = tmp_path_factory.mktemp("networks"), one_network.random_weights()
    found = {}
    for name, package in FRAMEWORKS.items():
        pytest.importorskip(package)
        path = folder / f"{name}.onnx"
        getattr(one_network, f"write_{name}")(weights, path)
        steps = Preprocessing.preset("torch", (one_network.SIZE, one_network.SIZE))
        found[name] = adcc.load(Path(path), preprocessing=steps, device="cpu")
    return found


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (12, 5, 5, 3)).astype(np.uint8)
    return [np.kron(image, np.ones((9, 9, 1), np.uint8)) for image in coarse]


@pytest.mark.parametrize("other", ["keras", "jax"])
def test_maps_and_metrics_are_equal(
    other: str, models: dict[str, Model], images: list[np.ndarray]
) -> None:
    metrics = ["average_drop", "coherency", "complexity", "adcc", "drop_in_deletion"]
    found = adcc.compare_models(models["torch"], models[other], images, METHODS, metrics)
    assert found.is_equal, comparison_to_text(found)
    assert [one.method for one in found.maps] == METHODS
    assert found.images == 12 and found.outputs.largest < 1e-5
    for one in found.maps:
        assert one.largest < 1e-4, one
    for score in found.scores:
        assert abs(score.difference.value) < 1e-4, score


@pytest.mark.parametrize("other", ["keras", "jax"])
def test_layers_are_matched_by_their_order(
    other: str, models: dict[str, Model], images: list[np.ndarray]
) -> None:
    found = adcc.compare_models(models["torch"], models[other], images[:4], "gradcam", "complexity")
    layers = found.walk.layers
    # Three convolutions, three activations, the pooling and the logits at least.
    assert len(layers) >= 8 and {one.by for one in layers} == {"order"}
    assert all(one.activation < 1e-5 for one in layers)
    assert all(one.gradient is not None and one.gradient < 1e-4 for one in layers)


def test_a_wrong_weight_in_one_framework_is_named(
    models: dict[str, Model], images: list[np.ndarray], tmp_path: Path
) -> None:
    weights = one_network.random_weights()
    weights["kernel1"] = 0.5 * weights["kernel1"]
    one_network.write_jax(weights, tmp_path / "wrong.onnx")
    wrong = adcc.load(
        tmp_path / "wrong.onnx", preprocessing=models["torch"].preprocessing, device="cpu"
    )
    found = adcc.compare_models(models["torch"], wrong, images, "gradcam", "complexity")
    parting = found.walk.parting
    assert parting is not None and found.walk.largest_step is parting
    place = found.walk.layers.index(parting)
    # The second convolution comes after the first one and its activation.
    assert place == 2 and all(one.activation < 1e-5 for one in found.walk.layers[:2])
