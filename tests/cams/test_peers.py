"""Maps on real weights against other people's implementations, where those follow the papers.

Compared after min-max at the layer's resolution. Grad-CAM++ and Smooth Grad-CAM++ are held against
a float64 loop instead: torchcam loses an in-place division there, and pytorch-grad-cam's epsilon of
1e-6 is as large as a typical g^2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.model import Model

torch = pytest.importorskip("torch")

from helpers.cam_oracles import minmax, plus_plus, pytorch_grad_cam
from helpers.torch_twin import LAYERS, TARGETS, Array, at_layer, features, ours

import adcc_onnx as adcc

AtBlock = Callable[[int], tuple[Array, Array]]


@pytest.fixture(scope="module")
def at_block(images: Array, twin: Any) -> AtBlock:
    """From the number of a block to (A, g) of the photos, which are computed once."""
    return cache(lambda block: features(twin, block, images, TARGETS))


def test_the_twin_computes_the_same(model: Model, images: Array, twin: Any) -> None:
    outputs = run_images(model, images, TARGETS, frozenset(), range(len(images)))
    with torch.no_grad():
        logits = twin(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(outputs.logits, logits, atol=2e-4)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("gradcam", "GradCAM"),
        ("xgradcam", "XGradCAM"),
        ("layercam", "LayerCAM"),
        ("hirescam", "HiResCAM"),
        ("gradcamelementwise", "GradCAMElementWise"),
    ],
)
@pytest.mark.parametrize("block", [18, 13])
def test_gradient_methods_equal_pytorch_grad_cam(
    name: str, peer: str, block: int, data: Path, images: Array, twin: Any, at_block: AtBlock
) -> None:
    """At the last map and at one in the middle, where the methods differ from each other."""
    # In float64: at a ReLU6's kink torch's own float32 gradient is off by 4e-3 on one photo.
    activations, g = at_block(block)
    wanted = pytorch_grad_cam(peer, twin, twin.features[block], activations, g)
    np.testing.assert_allclose(ours(at_layer(data, block), images, name), wanted, atol=1e-3)


def test_cam_equals_torchcam(model: Model, images: Array, twin: Any) -> None:
    """The weights of the linear layer, which ours finds by differentiation; no ReLU in both."""
    methods = pytest.importorskip("torchcam.methods")
    with (
        torch.no_grad(),
        methods.CAM(twin, target_layer=twin.features[18], fc_layer=twin.classifier[1]) as cam,
    ):
        scores = twin(torch.from_numpy(images))
        wanted = cam([int(target) for target in TARGETS], scores, normalized=True)[0].numpy()
    np.testing.assert_allclose(ours(model, images, "cam"), wanted, atol=1e-4)


def test_a_product_of_layers_is_refinecam_of_pytorch_grad_cam(
    data: Path, images: Array, twin: Any
) -> None:
    package = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    network = twin.double()
    layers = [network.features[13], network.features[18]]
    refined = package.RefineCAM(network, layers, base_method=package.LayerCAM)
    chosen = [targets.ClassifierOutputTarget(281)] * 2
    wanted = refined(torch.from_numpy(images[:2]).double().requires_grad_(), targets=chosen)
    twin.float()
    model = at_layer(data, 13).with_layers([LAYERS[13], LAYERS[18]], fuse="product")
    found = adcc.explain(model, images[:2], "layercam", target=281).maps
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("block", [13, 18])
def test_segeigencam_equals_pytorch_grad_cam(
    block: int, data: Path, images: Array, twin: Any
) -> None:
    package = pytest.importorskip("pytorch_grad_cam.utils.svd_on_activations")
    activations, g = features(twin, block, images, TARGETS)
    raw = package.get_2d_projection_with_sign_correction(np.abs(g) * activations)
    wanted = [minmax(one) for one in raw]
    np.testing.assert_allclose(
        ours(at_layer(data, block), images, "segeigencam"), wanted, atol=1e-3
    )


def test_the_sign_of_eigencam(data: Path, images: Array, twin: Any) -> None:
    package = pytest.importorskip("pytorch_grad_cam.utils.svd_on_activations")
    activations, _ = features(twin, 13, images, TARGETS)
    raw = package.get_2d_projection_with_sign_correction(activations)
    found = ours(at_layer(data, 13), images, "eigencam(sign=peak)")
    np.testing.assert_allclose(found, [minmax(one) for one in raw], atol=1e-3)


@pytest.mark.parametrize("block", [6, pytest.param(18, marks=pytest.mark.slow)])
def test_scorecam_equals_torchcam(block: int, data: Path, images: Array, twin: Any) -> None:
    """At a layer of 32 channels, and at the default layer of 1,280."""
    methods = pytest.importorskip("torchcam.methods")
    with methods.ScoreCAM(twin, target_layer=twin.features[block], batch_size=32) as cam:
        with torch.no_grad():
            scores = twin(torch.from_numpy(images[1:2]))
        wanted = cam(int(TARGETS[1]), scores)[0].numpy()
    found = ours(at_layer(data, block), images[1:2], "scorecam", TARGETS[1:2])
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_gradcam_plus_plus_equals_a_float64_loop(
    data: Path, images: Array, at_block: AtBlock
) -> None:
    middle = at_layer(data, 13)
    activations, g = at_block(13)
    wanted = [plus_plus(a, x, x**2, x**3) for a, x in zip(activations, g, strict=True)]
    np.testing.assert_allclose(ours(middle, images, "gradcam++"), wanted, atol=1e-3)


def test_smooth_gradcam_plus_plus_equals_a_float64_loop(
    data: Path, images: Array, twin: Any
) -> None:
    # Near the end: behind more ReLU6 some noisy copy always lies at a kink, and alpha, whose
    # denominator changes sign, makes that a different map.
    middle = at_layer(data, 17)
    images, targets = images[:2], TARGETS[:2]
    copies, sigma, plan = 3, 0.3, make_plan()
    activations, _ = features(twin, 17, images, targets)
    powers = np.zeros((3, *activations.shape))
    sources = [np.random.default_rng(plan.key(str(i))) for i in range(len(images))]
    for _ in range(copies):
        noise = np.stack([rng.standard_normal(images.shape[1:], np.float32) for rng in sources])
        spread = images.max(axis=(1, 2, 3)) - images.min(axis=(1, 2, 3))
        noisy = images + (sigma * spread)[:, None, None, None].astype(np.float32) * noise
        _, g = features(twin, 17, noisy.astype(np.float32), targets)
        powers += np.stack([g, g**2, g**3]) / copies
    wanted = [plus_plus(a, *powers[:, i]) for i, a in enumerate(activations)]
    found = ours(middle, images, f"smoothgradcam++(n={copies}, sigma={sigma})", targets)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
