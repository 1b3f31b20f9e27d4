"""The built-in vision transformer: its default layer, and the maps of token methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from scipy import ndimage

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many

LAYER = "/blocks/blocks.2/norm1/LayerNormalization_output_0"
RESIDUAL = "/blocks/blocks.1/Add_1_output_0"
HEADS, GRID, TOKENS = 3, 7, 50
TARGETS = np.array([0, 4, 9])


@pytest.fixture(scope="module")
def path() -> Any:
    return classifier_path("transformer")


@pytest.fixture(scope="module")
def images(path: Any) -> np.ndarray:
    steps = adcc.load(path, device="cpu").preprocessing
    assert steps is not None
    return np.stack([steps(drawing.image) for drawing in draw_many(5, 3)])


def test_the_default_layer_is_the_tokens_of_the_last_block(path: Any) -> None:
    found = adcc.inspect(path)
    (layer,) = [one for one in found["layers"] if one["name"] == found["default"]["name"]]
    assert (layer["name"], layer["module"]) == (LAYER, "blocks.2.norm1")
    assert (layer["kind"], layer["grid"], layer["prefix_tokens"]) == ("tokens", [GRID, GRID], 1)
    assert (found["default"]["guess"], layer["channels"]) == (False, 96)


def last_block(graph: onnx.GraphProto, torch: Any) -> Any:
    """The part behind the layer in torch float64, with the weights of the file."""
    values = {t.name: torch.from_numpy(np.array(numpy_helper.to_array(t), np.float64))
              for t in graph.initializer}  # fmt: skip
    products = [n for n in graph.node if n.op_type == "MatMul" and n.input[1] in values][-4:]
    biases = {n.input[1]: values[n.input[0]] for n in graph.node
              if n.op_type == "Add" and n.input[0] in values}  # fmt: skip
    linear = [(values[n.input[1]], biases[n.output[0]]) for n in products]
    norms = [[values[name] for name in n.input[1:]] for n in graph.node
             if n.op_type == "LayerNormalization"][-2:]  # fmt: skip
    (head,) = [n for n in graph.node if n.op_type == "Gemm"]
    weight, bias = (values[name] for name in head.input[1:])
    normalize = torch.nn.functional.layer_norm

    def logits(y: Any, residual: Any) -> Any:
        parts = (y @ linear[0][0] + linear[0][1]).reshape(len(y), TOKENS, 3, HEADS, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        attention = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, dim=-1)
        joined = (attention @ v).transpose(1, 2).reshape(len(y), TOKENS, -1)
        x = residual + joined @ linear[1][0] + linear[1][1]
        hidden = normalize(x, x.shape[-1:], *norms[0]) @ linear[2][0] + linear[2][1]
        x = x + torch.nn.functional.gelu(hidden) @ linear[3][0] + linear[3][1]
        return normalize(x, x.shape[-1:], *norms[1])[:, 0] @ weight.T + bias

    return logits


def raw_maps(a: np.ndarray, g: np.ndarray) -> dict[str, np.ndarray]:
    """The maps of four methods from their definitions, [N, 7, 7] each, before normalization."""
    maps = {
        "gradcam": (g.mean(axis=(2, 3), keepdims=True) * a).sum(axis=1),
        "hirescam": (g * a).sum(axis=1),
        "layercam": (np.maximum(g, 0) * a).sum(axis=1),
        "xgradcam": ((g * a).sum(axis=(2, 3), keepdims=True)
                     / a.sum(axis=(2, 3), keepdims=True) * a).sum(axis=1),
    }  # fmt: skip
    return {name: np.maximum(raw, 0) for name, raw in maps.items()}


def test_maps_of_token_methods_equal_torch_in_float64(path: Any, images: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    model = onnx.load(path)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (LAYER, RESIDUAL))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    scores, tokens, residual = session.run(["logits", LAYER, RESIDUAL], {"image": images})
    y = torch.from_numpy(tokens.astype(np.float64)).requires_grad_()
    logits = last_block(model.graph, torch)(y, torch.from_numpy(residual.astype(np.float64)))
    np.testing.assert_allclose(logits.detach().numpy(), scores, atol=1e-4)
    (gradient,) = torch.autograd.grad(logits[range(3), TARGETS].sum(), y)

    def folded(values: np.ndarray) -> np.ndarray:
        """Drop the class token, and fold the others to channels x height x width."""
        return values[:, 1:].transpose(0, 2, 1).reshape(len(values), -1, GRID, GRID)

    wanted = raw_maps(folded(tokens.astype(np.float64)), folded(gradient.numpy()))
    loaded = adcc.load(path, device="cpu")
    for name, raw in wanted.items():
        for i, target in enumerate(TARGETS.tolist()):
            found = adcc.explain(loaded, images[i : i + 1], name, target=target).maps[0]
            low, high = raw[i].min(), raw[i].max()
            small = (raw[i] - low) / (high - low)
            rows = (np.arange(112) + 0.5) * GRID / 112 - 0.5  # half-pixel centers
            grid = np.meshgrid(rows, rows, indexing="ij")
            expected = ndimage.map_coordinates(small, grid, order=1, mode="nearest")
            np.testing.assert_allclose(found, expected, atol=1e-3)


def test_its_maps_localize_the_object(path: Any) -> None:
    """The part of a map's energy on the object, against the part of the image that it covers."""
    result = adcc.evaluate(
        path,
        "drawings:48@77",
        ["layercam", "hirescam", "gradcam"],
        ["energy_pointing_game"],
        device="cpu",
    )
    area = np.mean([drawing.mask.mean() for drawing in draw_many(77, 48)])
    scores = {n: result.methods[n].scores["energy_pointing_game"] for n in result.methods}
    assert scores["layercam"] > 1.5 * area
    assert scores["layercam"] > 1.2 * scores["random"]


@pytest.mark.slow
def test_the_demonstration_runs_with_it(tmp_path: Any) -> None:
    found = adcc.demo(tmp_path / "pictures", model="transformer")
    assert found.result.layer == LAYER and len(list(found.folder.iterdir())) == 6


def test_a_misspelled_name_is_corrected(tmp_path: Any) -> None:
    with pytest.raises(adcc.OptionError, match="did you mean 'transformer'"):
        adcc.demo(tmp_path, model="tranformer")
