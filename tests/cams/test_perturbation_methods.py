"""Perturbation, optimization and component methods against loops in torch, on real weights."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.cam_oracles import first_component, minmax, normalized, up, weighted
from helpers.shared_models import shared_model
from helpers.torch_twin import TARGETS, Array, at_layer, ours

from adcc_onnx.cams.method import Need
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.cams.random_masks import RISE
from adcc_onnx.cams.score_cams import ScoreCAM
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.model import Model

F = torch.nn.functional
Middle = tuple[Model, Any]
ONE = slice(1, 2)
KEY = make_plan().key("0")  # of the only image of a batch, as `ours` names it


@pytest.fixture(scope="module")
def middle(data: Path, images: Array, twin: Any) -> Middle:
    """The model explained at a layer of 32 channels, and its A of the one photo."""
    with torch.no_grad():
        activations = twin.features[:7](torch.from_numpy(images[ONE]))
    return at_layer(data, 6), activations


@pytest.fixture(scope="module")
def seen(images: Array, twin: Any) -> tuple[Any, Any, Any]:
    """(x, A, y_c of a batch of images) of the one photo."""
    x = torch.from_numpy(images[ONE])
    with torch.no_grad():
        activations = twin.features(x)

    def score(batch: Any) -> Any:
        with torch.no_grad():
            return torch.cat([twin(part) for part in batch.split(32)])[:, TARGETS[1]]

    return x, activations, score


def head(twin: Any, activations: Any) -> Any:
    with torch.no_grad():
        return twin.classifier(activations.mean((2, 3)))[:, TARGETS[1]]


def test_ablationcam(model: Model, images: Array, twin: Any, seen: Any) -> None:
    _, a, _ = seen
    y = head(twin, a)[0]
    weights = []
    for channels in torch.arange(a.shape[1]).split(64):
        without = a.repeat(len(channels), 1, 1, 1)
        without[torch.arange(len(channels)), channels] = 0
        weights.append((y - head(twin, without)) / abs(y))
    wanted = weighted(a[0], torch.cat(weights))
    found = ours(model, images[ONE], "ablationcam", TARGETS[ONE])[0]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("spread", ["no", "yes"])
def test_reciprocam(model: Model, images: Array, twin: Any, seen: Any, spread: str) -> None:
    _, a, _ = seen
    side = a.shape[2]
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    scores = torch.zeros(side, side)
    for i in range(side):
        for j in range(side):
            kept = torch.zeros(1, 1, side, side)
            kept[..., i, j] = 1
            if spread == "yes":
                kept = F.conv2d(kept, kernel[None, None], padding=1)
            scores[i, j] = head(twin, a * kept)[0]
    found = ours(model, images[ONE], f"reciprocam(gaussian={spread})", TARGETS[ONE])[0]
    np.testing.assert_allclose(found, minmax(scores.numpy()), atol=1e-3)


def channel_map(a: Any, scores: Any) -> Array:
    return weighted(a[0], torch.softmax(scores.double(), 0))


def test_every_channels_score_equals_torch(images: Array, middle: Middle, seen: Any) -> None:
    """Masks upsampled and laid over the image inside the graph, and in torch."""
    (x, _, score), (model, a) = seen, middle
    needs = frozenset({Need.MASKED_SCORES})
    context = BatchContext(run_images(model, images[ONE], TARGETS[ONE], needs, [0]))
    masks = normalized(a[0])
    found = ScoreCAM().mask_scores(context, 0, masks.numpy())
    assert len(found) == 32
    np.testing.assert_allclose(found, score(x * up(masks)), atol=1e-4)


def test_sscam(images: Array, seen: Any, middle: Middle) -> None:
    (x, _, score), (model, a) = seen, middle
    masks, copies = normalized(a[0]), 2
    live = masks.flatten(1).any(1)
    _, first, which = np.unique(
        masks[live].flatten(1).numpy(), axis=0, return_index=True, return_inverse=True
    )
    source = np.random.default_rng([KEY, 0])
    total = torch.zeros(len(first), dtype=torch.float64)
    for _ in range(copies):
        noise = source.standard_normal((len(first), *masks.shape[1:]), np.float32) * np.float32(2)
        noisy = masks[live][first] + torch.from_numpy(noise)
        total += torch.cat([score(x * up(part)) for part in noisy.split(64)]).double()
    scores = score(torch.zeros_like(x)).double().expand(len(masks)).clone()
    scores[live] = (total / copies)[which.reshape(-1)]
    found = ours(model, images[ONE], f"sscam(n={copies})", TARGETS[ONE])[0]
    np.testing.assert_allclose(found, channel_map(a, scores), atol=1e-3)


def test_iscam(images: Array, seen: Any, middle: Middle) -> None:
    (x, _, score), (model, a) = seen, middle
    masks = normalized(a[0])
    parts = [torch.cat([score(x * up(part * (i / 2))) for part in masks.split(64)]) for i in (1, 2)]
    live = masks.flatten(1).any(1)
    scores = torch.where(live, sum(parts) / 2, score(torch.zeros_like(x)))
    found = ours(model, images[ONE], "iscam(n=2)", TARGETS[ONE])[0]
    np.testing.assert_allclose(found, channel_map(a, scores), atol=1e-3)


def test_groupcam(
    model: Model, images: Array, twin: Any, seen: Any, torchvision: ModuleType
) -> None:
    x, a, _ = seen
    features = a.clone().requires_grad_()
    logit = twin.classifier(features.mean((2, 3)))[0, TARGETS[1]]
    (g,) = torch.autograd.grad(logit, features)
    shares = g.mean((2, 3), keepdim=True)[0] * a[0]
    maps = torch.stack([F.relu(part.sum(0)) for part in shares.split(1280 // 32)])
    masks = normalized(maps)
    blurred = torchvision.transforms.functional.gaussian_blur(x, [51, 51], [50.0, 50.0])

    def p(batch: Any) -> Any:
        with torch.no_grad():
            return torch.softmax(twin(batch).double(), 1)[:, TARGETS[1]]

    gains = F.relu(p(x * up(masks) + blurred * (1 - up(masks))) - p(blurred))
    wanted = minmax(torch.tensordot(gains.float(), masks, 1).numpy())
    found = ours(model, images[ONE], "groupcam", TARGETS[ONE])[0]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_opticam(model: Model, images: Array, twin: Any, seen: Any) -> None:
    x, a = (values.double() for values in seen[:2])
    twin.double()
    u = torch.full((1280,), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([u], lr=0.1)
    # Few steps: Adam divides by the gradient's size, so that rounding moves a channel whose
    # gradient is next to nothing as far as any other.
    for _ in range(4):
        mixed = torch.tensordot(torch.softmax(u, 0), F.relu(a[0]), 1)
        mask = (mixed - mixed.min()) / (mixed.max() - mixed.min())
        optimizer.zero_grad()
        (-twin(x * up(mask[None]))[0, TARGETS[1]]).backward()
        optimizer.step()
    twin.float()
    wanted = torch.tensordot(torch.softmax(u, 0), F.relu(a[0]), 1).detach().numpy()
    found = ours(model, images[ONE], "opticam(steps=4)", TARGETS[ONE])[0]
    np.testing.assert_allclose(found, minmax(wanted), atol=1e-3)


def test_rise(model: Model, images: Array, twin: Any, seen: Any) -> None:
    x, _, _ = seen
    rise = RISE(masks=48)
    total, coverage = np.zeros((224, 224)), np.zeros((224, 224))
    for masks in rise.drawn(np.random.default_rng([KEY, 0]), 224, 224):
        with torch.no_grad():
            p = torch.softmax(twin(x * torch.from_numpy(masks)[:, None]).double(), 1)
        total += np.tensordot(p[:, TARGETS[1]].numpy(), masks, 1)
        coverage += masks.sum(axis=0, dtype=np.float64)
    found = ours(model, images[ONE], "rise(masks=48)", TARGETS[ONE])[0]
    np.testing.assert_allclose(found, minmax(total / coverage), atol=1e-3)


def test_rise_masks_keep_what_they_should() -> None:
    masks = np.concatenate(list(RISE(masks=3000).drawn(np.random.default_rng(0), 56, 70)))
    assert masks.shape == (3000, 56, 70) and masks.min() >= 0 and masks.max() <= 1
    np.testing.assert_allclose(masks.mean(axis=0), 0.5, atol=0.04)


@pytest.mark.parametrize(
    ("name", "peer"), [("eigencam", "EigenCAM"), ("eigengradcam", "EigenGradCAM")]
)
def test_eigen_methods_equal_pytorch_grad_cam(
    name: str, peer: str, model: Model, images: Array, twin: Any
) -> None:
    a = twin.features(torch.from_numpy(images)).detach().requires_grad_()
    scores = twin.classifier(a.mean((2, 3)))
    (g,) = torch.autograd.grad(scores[torch.arange(4), torch.from_numpy(TARGETS)].sum(), a)
    values = a.detach().numpy() * (1 if name == "eigencam" else g.numpy())
    np.testing.assert_allclose(ours(model, images, name), first_component(values), atol=1e-3)


def test_kpcacam_equals_scikit_learn(model: Model, images: Array, twin: Any) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    with torch.no_grad():
        activations = twin.features(torch.from_numpy(images)).double().numpy()
    wanted = []
    for a in activations:
        rows = a.reshape(len(a), -1).T
        kernel = decomposition.KernelPCA(n_components=1, kernel="sigmoid", coef0=1)
        found = kernel.fit_transform(rows - rows.mean(axis=0))[:, 0]
        sign = np.sign(np.corrcoef(found, rows.sum(axis=1))[0, 1])
        wanted.append(minmax(sign * found).reshape(a.shape[1:]))
    np.testing.assert_allclose(ours(model, images, "kpcacam"), wanted, atol=1e-3)


def test_the_tail_is_the_rest_of_a_transformer(data: Path, images: Array) -> None:
    """Against the whole transformer run for every mask, the layer multiplied inside."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    from adcc_onnx.graph.loading.saving import to_proto

    model = shared_model(data, "deit_tiny_patch16_224")
    (layer,) = model.layers
    rng = np.random.default_rng(0)
    masks = rng.random((6, 192, 14, 14)).astype(np.float32)
    needs = frozenset({Need.ACTIVATIONS, Need.SUFFIX_SCORES})
    seen = BatchContext(run_images(model, images[ONE], TARGETS[ONE], needs, [0]))
    found = seen.suffix_scores(0, masks)

    proto = to_proto(model.classifier.model)
    name = layer.value.name
    for node in proto.graph.node:
        for index, value in enumerate(node.input):
            if value == name:
                node.input[index] = "masked"
    proto.graph.node.append(helper.make_node("Mul", [name, "tokens"], ["masked"]))
    proto.graph.input.append(
        helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["batch", 197, 192])
    )
    ordered = onnx.ModelProto()
    ordered.CopyFrom(proto)
    place = next(i for i, n in enumerate(proto.graph.node) if name in n.output)
    nodes = list(proto.graph.node)
    del ordered.graph.node[:]
    ordered.graph.node.extend([*nodes[: place + 1], nodes[-1], *nodes[place + 1 : -1]])
    session = onnxruntime.InferenceSession(
        ordered.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    tokens = np.ones((6, 197, 192), np.float32)
    tokens[:, 1:] = masks.reshape(6, 192, 196).transpose(0, 2, 1)
    copies = np.repeat(images[ONE], 6, axis=0)
    wanted = session.run(None, {session.get_inputs()[0].name: copies, "tokens": tokens})[0]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_stochastic_methods_do_not_look_at_the_batch(model: Model, images: Array) -> None:
    """The same map whatever else is in the batch, and in whatever order."""
    plan = make_plan()
    for name in ("random", "rise(masks=20)", "smoothgrad(n=2)"):
        method = get_method(name)
        together = BatchContext(
            run_images(model, images[:2], TARGETS[:2], method.needs, [plan.key("a"), 7])
        )
        alone = BatchContext(run_images(model, images[1:2], TARGETS[1:2], method.needs, [7]))
        np.testing.assert_allclose(
            method.raw_maps(together)[1], method.raw_maps(alone)[0], rtol=1e-4, atol=1e-7
        )
