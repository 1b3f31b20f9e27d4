"""One transformer as several exporters write it; other readouts; models that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from helpers.architectures import export
from helpers.cam_oracles import minmax
from helpers.library_networks import declare_torchvision_operators
from helpers.selected import slow_except
from helpers.torch_twin import ours

declare_torchvision_operators()  # timm imports torchvision
timm = pytest.importorskip("timm")

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import AdccWarning, ModelError

METHODS = ["rollout", "chefer", "attentioncam", "attcat", "legrad", "tokentm"]
SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 4}
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)


def network(fused: bool = True, **options: Any) -> Any:
    torch.manual_seed(0)
    found = timm.models.VisionTransformer(**SIZES, num_classes=5, **options).eval()
    for parameter in found.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    for block in found.blocks:
        block.attn.fused_attn = fused
    return found


def maps(proto: onnx.ModelProto, names: list[str] = METHODS) -> dict[str, np.ndarray]:
    model = adcc.load(proto, device="cpu")
    return {name: adcc.explain(model, IMAGES, name, target=1).maps for name in names}


@pytest.fixture(scope="module")
def plain() -> dict[str, np.ndarray]:
    return maps(export(network(fused=False), torch.from_numpy(IMAGES)))


def opset_23() -> onnx.ModelProto:
    """With ONNX's own fused operator."""
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(
        network(),
        (torch.from_numpy(IMAGES),),
        dynamo=True,
        dynamic_shapes=({0: batch},),
        verbose=False,
        opset_version=23,
    )
    proto: onnx.ModelProto = program.model_proto
    assert [node.op_type for node in proto.graph.node].count("Attention") == 2
    return proto


@pytest.mark.parametrize(
    "form", slow_except(["torchscript", "fused"], ["torchscript", "dynamo", "fused"])
)
def test_every_form_gives_the_same_maps(form: str, plain: dict[str, np.ndarray]) -> None:
    images = torch.from_numpy(IMAGES)
    proto = opset_23() if form == "fused" else export(network(), images, form == "dynamo")
    for name, found in maps(proto).items():
        np.testing.assert_allclose(found, plain[name], atol=1e-4, err_msg=name)


def test_tokens_that_the_scores_read() -> None:
    """The mean of the patches without register tokens; of all where an attention pools them."""
    pooled = {"reg_tokens": 3, "class_token": True, "global_pool": "avg"}
    for options, expected in [
        (pooled, ((4, 4), 4, (4, 20))),
        ({"class_token": False, "global_pool": "map"}, ((4, 4), 0, (0, 16))),
        ({"reg_tokens": 2, "class_token": True}, ((4, 4), 3, (0, 1))),
    ]:
        proto = export(network(**options), torch.from_numpy(IMAGES))
        grid = adcc.load(proto, device="cpu").token_grid
        assert (grid.grid, grid.prefix_tokens, grid.read) == expected


def test_an_attention_as_the_layer(plain: dict[str, np.ndarray]) -> None:
    proto = export(network(fused=False), torch.from_numpy(IMAGES))
    described = [one for one in adcc.inspect(proto)["layers"] if one["kind"] == "attention"]
    assert [one["shape"][1:] for one in described] == [[4, 17, 17], [4, 17, 17]]
    last = described[-1]
    assert (last["channels"], last["grid"], last["prefix_tokens"]) == (4, [4, 4], 1)
    model = adcc.load(proto, device="cpu", layers=last["name"])
    found = adcc.explain(model, IMAGES, "gradcam", target=1).maps
    np.testing.assert_allclose(found, plain["attentioncam"], atol=1e-5)
    baked = adcc.bake(proto, "gradcam", last["name"], target=1)
    assert baked.graph.output[-1].name == "heatmap"
    exposed = adcc.expose(proto, last["name"])
    shape = exposed.graph.output[-1].type.tensor_type.shape.dim
    assert [size.dim_value for size in shape[1:]] == [4, 17, 17]


def test_masks_of_an_attention_multiply_the_columns() -> None:
    """Ablation-CAM on a softmax: a head whose attention to patches is zeroed, in torch."""
    module = network(fused=False)
    kept: list[Any] = []

    def logits(head: int | None) -> Any:
        def zeroed(layer: Any, given: Any, made: Any) -> Any:
            kept.append(made)
            changed = made.clone()
            if head is not None:
                changed[:, head, :, 1:] = 0
            return changed

        handle = module.blocks[-1].attn.attn_drop.register_forward_hook(zeroed)
        with torch.no_grad():
            scores = module(torch.from_numpy(IMAGES))
        handle.remove()
        return scores

    whole = logits(None)
    weights = torch.stack([(whole - logits(head)) / whole.abs() for head in range(4)])
    raw = torch.einsum("hnc,nhk->cnk", weights, kept[0][:, :, 0, 1:]).clamp(min=0)
    target = int((raw.amax(2) - raw.amin(2)).amin(1).argmax())  # maps that are not constant
    proto = export(module, torch.from_numpy(IMAGES))
    name = [one for one in adcc.inspect(proto)["layers"] if one["kind"] == "attention"][-1]["name"]
    model = adcc.load(proto, device="cpu", layers=name)
    found = ours(model, IMAGES, "ablationcam", np.array([target, target]))
    expected = [minmax(one.reshape(4, 4).numpy()) for one in raw[target]]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_a_network_without_attention_is_refused(name: str) -> None:
    model = adcc.load(classifier_path(), device="cpu")
    with pytest.raises(ModelError, match="the model has no attention, which the method needs"):
        adcc.explain(model, "drawings:1", name)


def test_other_methods_run_where_attention_is_missing() -> None:
    model = adcc.load(classifier_path(), device="cpu")
    with pytest.warns(AdccWarning, match="chefer, rollout cannot explain classifier"):
        found = adcc.evaluate(model, "drawings:2", ["gradcam", "chefer", "rollout"], ["complexity"])
    assert found.methods["gradcam"].scores["complexity"] > 0


@pytest.mark.slow
def test_windows_are_refused() -> None:
    """Although the last stage of this network is one window that holds all tokens."""
    swin = timm.models.swin_transformer.SwinTransformer(
        img_size=32, patch_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 2), window_size=4,
        num_classes=5,
    )  # fmt: skip
    proto = export(swin.eval(), torch.from_numpy(IMAGES))
    with pytest.raises(ModelError, match="within windows, or over tokens that are merged"):
        adcc.explain(adcc.load(proto, device="cpu"), IMAGES, "rollout")
