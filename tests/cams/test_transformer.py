"""Every family of methods on a vision transformer, DeiT-tiny with its real weights in torch.

At the default layer, the tokens that enter the last block's attention: 14 x 14 of 192 channels, and
the class token, which belongs to no place.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.cam_oracles import (
    first_component,
    minmax,
    normalized,
    plus_plus,
    pytorch_grad_cam,
    up,
    weighted,
)
from helpers.shared_models import shared_model
from helpers.torch_twin import Array, ours

import adcc_onnx as adcc
from adcc_onnx.cams.method import Need
from adcc_onnx.cams.score_cams import ScoreCAM
from adcc_onnx.errors import ModelError
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.explanation.samples import tensor_of
from adcc_onnx.images.sources.open_images import open_paths
from adcc_onnx.model import Model

TARGETS = np.array([281, 500])
ONE = slice(1, 2)


@pytest.fixture(scope="module")
def deit(data: Path) -> Model:
    return shared_model(data, "deit_tiny_patch16_224")


@pytest.fixture(scope="module")
def photos(images: Array) -> Array:
    """Not the first one: there 2 + S g of Grad-CAM++ comes so close to 0, its alpha's pole, that
    torch's own float32 map is 2e-3 off its float64 one."""
    return images[1:3]


@pytest.fixture(scope="module")
def network(data: Path, torchvision: ModuleType) -> Any:
    timm = pytest.importorskip("timm")
    path = data / "models" / "deit_tiny_state_dict.pth"
    network = timm.create_model("deit_tiny_patch16_224").eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def entering(network: Any, photos: Array) -> tuple[Any, Any]:
    """Tokens [2, 197, 192] entering the last block, and as they enter its attention."""
    kept: list[Any] = []
    handle = network.blocks[-1].norm1.register_forward_hook(
        lambda module, given, made: kept.extend([given[0], made])
    )
    network(torch.from_numpy(photos))
    handle.remove()
    return kept[0], kept[1]


def rest(network: Any, around: Any, tokens: Any) -> Any:
    """Logits of tokens [M, 197, 192] in the last block's attention, [1 or M, ...] around it."""
    block = network.blocks[-1]
    inner = around + block.attn(tokens)
    inner = inner + block.mlp(block.norm2(inner))
    return network.forward_head(network.norm(inner))


def grid(tokens: Any) -> Any:
    """[N, 197, 192] -> [N, 192, 14, 14]."""
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (14, 14))


@pytest.fixture(scope="module")
def features(network: Any, entering: tuple[Any, Any]) -> tuple[Array, Array]:
    """(A, g), [2, 192, 14, 14] each."""
    around, tokens = entering
    tokens = tokens.clone().requires_grad_()
    score = rest(network, around, tokens)[torch.arange(2), torch.from_numpy(TARGETS)].sum()
    (gradient,) = torch.autograd.grad(score, tokens)
    return grid(tokens.detach()).numpy(), grid(gradient).numpy()


def agrees(deit: Model, photos: Array, text: str, wanted: Any, which: slice = slice(2)) -> None:
    found = ours(deit, photos[which], text, TARGETS[which])
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_the_twin_is_the_same_model(deit: Model, photos: Array, network: Any) -> None:
    (layer,) = deit.layers
    assert (layer.kind, layer.channels, layer.grid, layer.prefix_tokens) == (
        "tokens",
        192,
        (14, 14),
        1,
    )
    outputs = run_images(deit, photos, TARGETS, frozenset(), range(2))
    np.testing.assert_allclose(outputs.logits, network(torch.from_numpy(photos)), atol=2e-4)


@pytest.mark.parametrize(
    "peer", ["GradCAM", "XGradCAM", "LayerCAM", "HiResCAM", "GradCAMElementWise"]
)
def test_gradient_methods_equal_pytorch_grad_cam(
    peer: str, deit: Model, photos: Array, network: Any, features: tuple[Array, Array]
) -> None:
    wanted = pytorch_grad_cam(peer, network, network.blocks[-1].norm1, *features)
    agrees(deit, photos, peer.lower(), wanted)


def test_gradcam_plus_plus_equals_a_loop(
    deit: Model, photos: Array, features: tuple[Array, Array]
) -> None:
    pairs = zip(*(part.astype(np.float64) for part in features), strict=True)
    agrees(deit, photos, "gradcam++", [plus_plus(a, g, g**2, g**3) for a, g in pairs])


def test_eigen_methods_equal_pytorch_grad_cam(
    deit: Model, photos: Array, features: tuple[Array, Array]
) -> None:
    a, g = features
    agrees(deit, photos, "eigencam", first_component(a))
    agrees(deit, photos, "eigengradcam", first_component(a * g))
    package = pytest.importorskip("pytorch_grad_cam.utils.svd_on_activations")
    wanted = package.get_2d_projection_with_sign_correction(np.abs(g) * a)
    agrees(deit, photos, "segeigencam", [minmax(one) for one in wanted])


def test_finercam_equals_pytorch_grad_cam(deit: Model, photos: Array, network: Any) -> None:
    package = pytest.importorskip("pytorch_grad_cam")
    layer = network.blocks[-1].norm1
    with package.FinerCAM(network, [layer], reshape_transform=grid) as cam:
        wanted = cam(torch.from_numpy(photos).requires_grad_())
    found = [minmax(one) for one in adcc.explain(deit, photos, "finercam").maps]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_cam_is_refused_without_its_head(deit: Model, photos: Array) -> None:
    with pytest.raises(ModelError, match=r"the operator MatMul .* follows"):
        adcc.explain(deit, photos, "cam")


def test_scores_behind_masks_equal_a_loop(
    deit: Model, photos: Array, network: Any, features: tuple[Array, Array]
) -> None:
    masks = normalized(torch.from_numpy(features[0][1, ::16]))
    needs = frozenset({Need.MASKED_SCORES})
    context = BatchContext(run_images(deit, photos[ONE], TARGETS[ONE], needs, [0]))
    found = ScoreCAM().mask_scores(context, 0, masks.numpy())
    wanted = network(torch.from_numpy(photos[ONE]) * up(masks))[:, TARGETS[1]]
    assert len(found) == 12
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.slow
def test_scorecam_equals_a_loop(
    deit: Model, photos: Array, network: Any, features: tuple[Array, Array]
) -> None:
    """All 192 channels."""
    a = torch.from_numpy(features[0][1])
    batches = (torch.from_numpy(photos[ONE]) * up(part) for part in normalized(a).split(32))
    scores = torch.cat([network(batch)[:, TARGETS[1]] for batch in batches])
    agrees(deit, photos, "scorecam", [weighted(a, torch.softmax(scores.double(), 0))], ONE)


def test_ablationcam_equals_a_loop(
    deit: Model, photos: Array, network: Any, entering: tuple[Any, Any]
) -> None:
    """The class token keeps its channels: it is of no place."""
    around, tokens = (values[ONE] for values in entering)
    versions = tokens.repeat(193, 1, 1)  # the last one whole
    for channel in range(192):
        versions[channel, 1:, channel] = 0
    *without, y = rest(network, around, versions)[:, TARGETS[1]]
    weights = (y - torch.stack(without)) / abs(y)
    agrees(deit, photos, "ablationcam", [weighted(grid(tokens)[0], weights)], ONE)


@pytest.mark.parametrize("gaussian", [True, False])
def test_reciprocam_equals_a_loop(
    gaussian: bool, deit: Model, photos: Array, network: Any, entering: tuple[Any, Any]
) -> None:
    around, tokens = (values[ONE] for values in entering)
    line = torch.tensor([1.0, 2, 1]) / 4
    kernel = torch.outer(line, line)
    shares = torch.zeros(14, 14, 16, 16)
    for i, j in np.ndindex(14, 14):
        if gaussian:
            shares[i, j, i : i + 3, j : j + 3] = kernel
        else:
            shares[i, j, i + 1, j + 1] = 1
    places = shares[..., 1:15, 1:15].reshape(196, 196)
    kept = torch.cat([torch.ones(196, 1), places], 1)
    scores = rest(network, around, tokens * kept[..., None])[:, TARGETS[1]].reshape(14, 14).numpy()
    text = "reciprocam" if gaussian else "reciprocam(gaussian=no)"
    agrees(deit, photos, text, [minmax(scores)], ONE)


def test_noise_is_scaled_from_the_image_and_not_from_its_explanation_map(
    deit: Model, photos: Array
) -> None:
    """On the second pass: the same noise, although the masked image has a fifth of the range."""
    image, needs = photos[ONE], frozenset({Need.ACTIVATIONS, Need.NOISY_GRADIENTS})
    outputs = run_images(deit, image, TARGETS[ONE], needs, [3])
    mask = np.full((1, 14, 14), 0.2, np.float32)
    (masked,) = outputs.on_explanation_maps([mask], np.zeros(3, np.float32), needs)
    first, second = BatchContext(outputs), BatchContext(masked)
    np.testing.assert_allclose(second.images, 0.2 * image, atol=1e-6)
    (noise,) = second.noise(1, 0.15)
    np.testing.assert_array_equal(noise, next(iter(first.noise(1, 0.15))))
    assert noise.std() == pytest.approx(0.15 * (image.max() - image.min()), rel=0.01)
    (found,) = second.noisy_gradients(1, 0.15)
    gradients = frozenset({Need.GRADIENTS})
    noisy = BatchContext(run_images(deit, second.images + noise, TARGETS[ONE], gradients, [3]))
    np.testing.assert_allclose(found, noisy.gradients, atol=1e-6 * np.abs(found).max())


def test_baked_xgradcam_equals_explain_on_signed_tokens(deit: Model, data: Path) -> None:
    """Photos of which a channel's sum almost vanishes: in float32 the maps were off by 1.3e-5."""
    onnxruntime = pytest.importorskip("onnxruntime")
    paths = sorted((data / "photos").iterdir())
    images = np.stack(
        [tensor_of(record, False, deit) for record in open_paths([paths[2], paths[34]])]
    )
    baked = adcc.bake(deit, "xgradcam")
    session = onnxruntime.InferenceSession(
        baked.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(["heatmap"], {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(found, adcc.explain(deit, images, "xgradcam").maps, atol=5e-6)


@pytest.mark.parametrize(
    ("text", "peer", "options"),
    [
        ("saliency", "Saliency", {}),
        ("inputxgradient", "InputXGradient", {}),
        (
            "integratedgradients(steps=3)",
            "IntegratedGradients",
            {"n_steps": 3, "method": "riemann_middle"},
        ),
    ],
)
def test_pixel_methods_equal_captum(
    text: str, peer: str, options: dict[str, Any], deit: Model, photos: Array, network: Any
) -> None:
    attribution = getattr(pytest.importorskip("captum.attr"), peer)(network)
    x = torch.from_numpy(photos).requires_grad_()
    found = attribution.attribute(x, target=torch.from_numpy(TARGETS), **options).detach()
    raw = found.amax(1) if text == "saliency" else found.sum(1).abs()
    agrees(deit, photos, text, [minmax(one.numpy()) for one in raw])
