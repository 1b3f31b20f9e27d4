"""Methods on attentions against float64 loops in torch, written from the papers with full matrices.

DeiT-tiny has a class token; a small network of timm pools its patches and has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.architectures import export
from helpers.cam_oracles import minmax
from helpers.library_networks import declare_torchvision_operators
from helpers.torch_twin import Array, ours

declare_torchvision_operators()  # timm imports torchvision
timm = pytest.importorskip("timm")

import adcc_onnx as adcc
from adcc_onnx.model import Model

TARGETS = np.array([281, 500])
SMALL_TARGETS = np.array([0, 3])


@dataclass
class Twin:
    """A network with its model, images, and what hooks see on the way: float64 tensors.

    Attributes:
        attentions: Attention probabilities of each block, [N, heads, T, T].
        streams: Tokens before each block and behind the last one, [N, T, C].
        scores: The logits of the targets, [N].
    """

    network: Any
    model: Model
    images: Array
    targets: Array
    prefix: int
    side: int
    attentions: list[Any]
    streams: list[Any]
    scores: Any

    def gradients(self, values: list[Any]) -> list[Any]:
        return list(torch.autograd.grad(self.scores.sum(), values, retain_graph=True))

    def read(self, matrix: Any) -> Array:
        """The row of the class token, or the mean row, of [N, T, T] as maps in [0, 1]."""
        rows = matrix[:, 0] if self.prefix else matrix.mean(1)
        return self.fold(rows)

    def fold(self, values: Any) -> Array:
        maps = values[:, self.prefix :].reshape(len(values), self.side, self.side)
        return np.stack([minmax(one) for one in maps.detach().numpy()])


def watched(network: Any, model: Model, images: Array, targets: Array, prefix: int) -> Twin:
    network = network.double()
    attentions: list[Any] = []
    streams: list[Any] = []
    for block in network.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda *call: attentions.append(call[2]))
        block.register_forward_pre_hook(lambda module, given: streams.append(given[0]))
    network.blocks[-1].register_forward_hook(lambda *call: streams.append(call[2]))
    source = torch.from_numpy(images).double().requires_grad_()
    scores = network(source)[torch.arange(len(targets)), torch.from_numpy(targets)]
    side = round((attentions[0].shape[-1] - prefix) ** 0.5)
    return Twin(network, model, images, targets, prefix, side, attentions, streams, scores)


@pytest.fixture(scope="module")
def deit(data: Path, images: Array) -> Twin:
    network = timm.create_model("deit_tiny_patch16_224").eval()
    path = data / "models" / "deit_tiny_state_dict.pth"
    network.load_state_dict(torch.load(path, weights_only=True))
    path = data / "models" / "deit_tiny_patch16_224.onnx"
    return watched(network, adcc.load(path, "torch", device="cpu"), images[1:3], TARGETS, 1)


@pytest.fixture(scope="module")
def pooled() -> Twin:
    """A network without a class token, whose scores are of the mean of all patches."""
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 4}
    network = timm.models.VisionTransformer(
        **sizes, num_classes=5, global_pool="avg", class_token=False
    ).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    model = adcc.load(export(network, torch.from_numpy(images)), device="cpu")
    return watched(network, model, images, SMALL_TARGETS, 0)


@pytest.fixture(params=["deit", "pooled"])
def twin(request: pytest.FixtureRequest) -> Twin:
    found: Twin = request.getfixturevalue(request.param)
    return found


def rollout(twin: Twin) -> Array:
    identity = torch.eye(twin.attentions[0].shape[-1]).double()
    product = identity
    for attention in twin.attentions:
        mixed = attention.mean(1) + identity
        product = mixed / mixed.sum(-1, keepdim=True) @ product
    return twin.read(product)


def chefer(twin: Twin) -> Array:
    identity = torch.eye(twin.attentions[0].shape[-1]).double()
    relevance = identity
    gradients = twin.gradients(twin.attentions)
    for attention, gradient in zip(twin.attentions, gradients, strict=True):
        positive = (attention * gradient).clamp(min=0).mean(1)
        relevance = relevance + positive @ relevance
    return twin.read(relevance)


def attentioncam(twin: Twin) -> Array:
    attention = twin.attentions[-1]
    (gradient,) = twin.gradients([attention])
    if twin.prefix:
        attention, gradient = attention[:, :, 0], gradient[:, :, 0]
    else:
        attention, gradient = attention.mean(2), gradient.mean(2)
    weights = gradient[:, :, twin.prefix :].mean(-1, keepdim=True)
    return twin.fold((weights * attention).sum(1).clamp(min=0))


def attcat(twin: Twin) -> Array:
    entering = twin.streams[:-1]
    total = torch.zeros(entering[0].shape[:2]).double()
    gradients = twin.gradients(entering)
    for attention, tokens, gradient in zip(twin.attentions, entering, gradients, strict=True):
        total = total + attention.mean(1).mean(1) * (tokens * gradient).sum(-1)
    return twin.fold(total)


def legrad(twin: Twin, blocks: int = 0) -> Array:
    """The head on the mean of all tokens, as in the authors' code for classifiers."""
    leaving, rows = twin.streams[1:], torch.arange(len(twin.targets))
    maps = []
    for attention, tokens in list(zip(twin.attentions, leaving, strict=True))[-blocks:]:
        network = twin.network
        pooled = network.fc_norm(network.norm(tokens.mean(1)))
        score = network.head(pooled)[rows, torch.from_numpy(twin.targets)].sum()
        (gradient,) = torch.autograd.grad(score, attention, retain_graph=True)
        maps.append(gradient.clamp(min=0).mean(1).mean(1))
    return twin.fold(torch.stack(maps).mean(0))


@pytest.mark.parametrize(
    ("text", "oracle"),
    [
        ("rollout", rollout),
        ("chefer", chefer),
        ("attentioncam", attentioncam),
        ("attcat", attcat),
        ("legrad", legrad),
        ("legrad(blocks=2)", lambda twin: legrad(twin, 2)),
    ],
)
def test_methods_equal_a_float64_loop(
    text: str, oracle: Callable[[Twin], Array], twin: Twin
) -> None:
    found = ours(twin.model, twin.images, text, twin.targets)
    np.testing.assert_allclose(found, oracle(twin), atol=1e-4)


def test_legrad_equals_torchcam() -> None:
    """On torchvision's transformer, for the last two of three blocks."""
    methods = pytest.importorskip("torchcam.methods")
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = models.VisionTransformer(32, 8, 3, 4, 24, 48, num_classes=5).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    model = adcc.load(export(network, torch.from_numpy(images)), device="cpu")
    with methods.LeGrad(network, list(network.encoder.layers)[1:]) as cam:
        scores = network(torch.from_numpy(images))
        (wanted,) = cam([int(c) for c in SMALL_TARGETS], scores)
    found = ours(model, images, "legrad(blocks=2)", SMALL_TARGETS)
    np.testing.assert_allclose(found, wanted.detach(), atol=1e-4)
