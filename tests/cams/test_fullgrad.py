"""FullGrad: a loop in torch written from the paper, a peer's biases, and completeness."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from helpers.cam_oracles import minmax
from helpers.torch_twin import TARGETS, Array, ours

import adcc_onnx as adcc
from adcc_onnx.errors import ModelError
from adcc_onnx.model import Model

F = torch.nn.functional


def contributions(network: Any, images: Array, targets: Array) -> list[Any]:
    """x dy/dx and b dy/dz of every Conv2d and BatchNorm2d with a bias, [N, K, h, w] each."""
    kept: list[tuple[Any, Any]] = []

    def keep(module: Any, given: Any, made: Any) -> None:
        bias = module.bias
        if isinstance(module, torch.nn.BatchNorm2d):
            factor = module.weight / (module.running_var + module.eps).sqrt()
            bias = module.bias - module.running_mean * factor
        kept.append((bias.detach(), made))

    kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d)
    biased = [m for m in network.modules() if isinstance(m, kinds) and m.bias is not None]
    handles = [module.register_forward_hook(keep) for module in biased]
    source = torch.from_numpy(images).double().requires_grad_()
    score = network(source)[torch.arange(len(images)), torch.from_numpy(targets)].sum()
    for handle in handles:
        handle.remove()
    slopes = torch.autograd.grad(score, [source, *(made for _, made in kept)])
    factors = [source.detach(), *(bias[None, :, None, None] for bias, _ in kept)]
    return [(s * f).detach() for s, f in zip(slopes, factors, strict=True)]


def fullgrad(terms: list[Any]) -> Array:
    total = 0
    for term in terms:
        size = term.abs()
        low = size.flatten(1).amin(1)[:, None, None, None]
        high = size.flatten(1).amax(1)[:, None, None, None]
        summed = ((size - low) / (high - low)).sum(1, keepdim=True)
        size_of_image = terms[0].shape[2:]
        total = total + F.interpolate(summed, size_of_image, mode="bilinear", align_corners=False)
    return np.stack([minmax(one) for one in np.asarray(total[:, 0])])


def test_a_trained_network(model: Model, images: Array, twin: Any) -> None:
    """mobilenet_v2, whose batch normalizations are folded, at an eighth of the photos' kinks."""
    network = copy.deepcopy(twin).double()
    wanted = fullgrad(contributions(network, images, TARGETS))
    np.testing.assert_allclose(ours(model, images, "fullgrad"), wanted, atol=1e-3)


@pytest.fixture(scope="module")
def residual(torchvision: ModuleType) -> Any:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=7).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_(0, 0.3)
        elif isinstance(module, torch.nn.ReLU):
            module.inplace = False  # hooks, the peer's too, would see the values behind it
    return network.double()


IMAGES = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
CLASSES = np.array([1, 4])


def test_batch_normalizations(residual: Any) -> None:
    """Kept in the file as they are in the network; pytorch-grad-cam finds the same terms."""
    terms = contributions(residual, IMAGES, CLASSES)
    model = adcc.load(exported(residual), device="cpu")
    found = ours(model, IMAGES, "fullgrad", CLASSES)
    np.testing.assert_allclose(found, fullgrad(terms), atol=1e-3)

    package = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    with package.FullGrad(residual, []) as cam:
        cam(
            torch.from_numpy(IMAGES).double(),
            [targets.ClassifierOutputTarget(int(c)) for c in CLASSES],
        )
        pairs = list(zip(cam.bias_data, cam.activations_and_grads.gradients, strict=True))
    assert len(pairs) == len(terms) - 1
    for (bias, slope), term in zip(pairs, terms[1:], strict=True):
        theirs = bias[None, :, None, None] * slope.numpy()
        np.testing.assert_allclose(theirs, term, atol=1e-9 * float(term.abs().max()))


def test_the_terms_are_the_score(residual: Any) -> None:
    """Completeness of networks of ReLUs: the terms and the last bias add up to the logit."""
    terms = contributions(residual, IMAGES, CLASSES)
    total = sum(term.flatten(1).sum(1) for term in terms) + residual.fc.bias[CLASSES]
    scores = residual(torch.from_numpy(IMAGES).double())[torch.arange(2), CLASSES]
    np.testing.assert_allclose(total.detach(), scores.detach(), rtol=1e-9)


def test_a_transformer_is_refused(data: Path) -> None:
    path = data / "models" / "deit_tiny_patch16_224.onnx"
    model = adcc.load(path, preprocessing="torch", device="cpu")
    with pytest.raises(ModelError, match="the model has attention"):
        adcc.explain(model, np.zeros((1, 3, 224, 224), np.float32), "fullgrad")


def exported(network: Any) -> onnx.ModelProto:
    file = io.BytesIO()
    torch.onnx.export(
        copy.deepcopy(network).float(),
        (torch.from_numpy(IMAGES),),
        file,
        input_names=["image"],
        dynamic_axes={"image": {0: "batch"}},
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        opset_version=17,
    )
    return onnx.load_from_string(file.getvalue())
