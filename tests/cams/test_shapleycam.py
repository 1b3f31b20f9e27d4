"""ShapleyCAM and its Hessian products against torch's double backward, in float64."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.architectures import export
from helpers.cam_oracles import minmax
from helpers.torch_twin import TARGETS, Array, at_layer, ours

import adcc_onnx as adcc
from adcc_onnx.cams.method import Need
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.model import Model

IMAGES = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
CLASSES = np.array([2, 0, 2])


def double_backward(
    network: Any, module: Any, images: Array, targets: Array
) -> tuple[Any, Any, Any]:
    """(A, g, H A) at a module's output."""
    kept: list[Any] = []
    handle = module.register_forward_hook(lambda *call: kept.append(call[2]))
    scores = network(torch.from_numpy(images).double().requires_grad_())
    handle.remove()
    score = scores[torch.arange(len(targets)), torch.from_numpy(targets)].sum()
    (g,) = torch.autograd.grad(score, kept[0], create_graph=True)
    (product,) = torch.autograd.grad(g, kept[0], kept[0].detach())
    return kept[0].detach(), g.detach(), product.detach()


def product_of(model: Model, images: Array, targets: Array) -> Array:
    outputs = run_images(model, images, targets, frozenset({Need.HESSIAN_PRODUCT}), range(9))
    return BatchContext(outputs).hessian_product


def smooth() -> Any:
    """A convolutional network with every usual part, smooth activations and a curved head."""
    torch.manual_seed(0)
    nn = torch.nn
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.BatchNorm2d(8), nn.Hardswish(),
        nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Conv2d(8, 12, 3, stride=2), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(12), nn.Linear(12, 6), nn.Tanh(),
        nn.Linear(6, 4),
    )  # fmt: skip
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return network.eval()


def test_on_a_convolutional_network(torchvision: ModuleType) -> None:
    """The Hessian products, and the map of the whole peer at the image's size."""
    package = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    network = smooth()
    model = adcc.load(export(network, torch.from_numpy(IMAGES)), device="cpu")
    network, layer = network.double(), network[4]
    name = next(one["name"] for one in adcc.inspect(model)["layers"] if one["module"] == "4")
    model = model.with_layers(name)
    _, g, wanted = double_backward(network, layer, IMAGES, CLASSES)
    found = product_of(model, IMAGES, CLASSES)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))
    assert wanted.abs().max() > 0.1 * g.abs().max()
    with package.ShapleyCAM(network, [layer]) as cam:
        chosen = [targets.ClassifierOutputTarget(2)] * len(IMAGES)
        expected = cam(torch.from_numpy(IMAGES).double(), targets=chosen)
    maps = adcc.explain(model, IMAGES, "shapleycam", target=2).maps
    # The peer normalizes the upsampled map again.
    np.testing.assert_allclose([minmax(one) for one in maps], expected, atol=1e-3)
    assert np.abs(maps - adcc.explain(model, IMAGES, "gradcam", target=2).maps).max() > 0.05


def test_on_a_transformer(data: Path, images: Array, torchvision: ModuleType) -> None:
    """DeiT-tiny: the Hessian through softmax, LayerNorm and GELU.

    The peer fails on transformers: it takes the activations for an image before it reshapes them.
    """
    timm = pytest.importorskip("timm")
    network = timm.create_model("deit_tiny_patch16_224").eval()
    path = data / "models" / "deit_tiny_state_dict.pth"
    network.load_state_dict(torch.load(path, weights_only=True))
    network = network.double()
    for block in network.blocks:
        block.attn.fused_attn = False
    layer, chosen = network.blocks[-1].norm1, np.array([281])
    tokens = double_backward(network, layer, images[1:2], chosen)
    a, g, wanted = (values[:, 1:].transpose(1, 2).numpy() for values in tokens)
    path = data / "models" / "deit_tiny_patch16_224.onnx"
    model = adcc.load(path, preprocessing="torch", device="cpu")
    found = product_of(model, images[1:2], chosen).reshape(1, 192, 196)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    assert np.abs(wanted).max() > 0.1 * np.abs(g).max()
    weights = (g - wanted / 2).mean(axis=2, keepdims=True)
    expected = [minmax(one) for one in np.maximum((weights * a).sum(axis=1), 0)]
    maps = ours(model, images[1:2], "shapleycam", chosen).reshape(1, 196)
    np.testing.assert_allclose(maps, expected, atol=1e-4)


def test_it_is_gradcam_where_the_logit_is_piecewise_linear(data: Path, images: Array) -> None:
    """In a network of ReLU6, and behind global average pooling in any network."""
    for block in (13, 18):
        model = at_layer(data, block)
        assert not product_of(model, images[:1], TARGETS[:1]).any()
        found, gradcam = (
            ours(model, images[:1], m, TARGETS[:1]) for m in ("shapleycam", "gradcam")
        )
        np.testing.assert_allclose(found, gradcam, atol=1e-6)
