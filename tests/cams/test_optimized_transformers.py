"""Transformers that onnxruntime's transformer optimizer fused, against the files it was given."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from helpers.architectures import export
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

import adcc_onnx as adcc

HEADS, WIDTH = 4, 24
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
METHODS = ["rollout", "chefer", "attentioncam", "attcat", "legrad", "tokentm", "gradcam",
           "hirescam", "ablationcam", "saliency"]  # fmt: skip


class Block(torch.nn.Module):
    """A block with separate projections of queries, keys and values, which the optimizer fuses."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.out = (torch.nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = torch.nn.Linear(WIDTH, 2 * WIDTH), torch.nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        normalized = self.norm1(x)
        q, k, v = (
            layer(normalized).reshape(-1, 17, HEADS, WIDTH // HEADS).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        attention = (q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)).softmax(-1)
        x = self.out((attention @ v).transpose(1, 2).reshape(-1, 17, WIDTH)) + x
        return self.down(torch.nn.functional.gelu(self.up(self.norm2(x)))) + x


class Transformer(torch.nn.Module):
    """A vision transformer with a class token and 4 x 4 patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(3, WIDTH, 8, 8)
        self.token = torch.nn.Parameter(torch.randn(1, 1, WIDTH))
        self.positions = torch.nn.Parameter(torch.randn(1, 17, WIDTH))
        self.blocks = torch.nn.Sequential(*(Block() for _ in range(3)))
        self.norm, self.head = torch.nn.LayerNorm(WIDTH), torch.nn.Linear(WIDTH, 5)

    def forward(self, x: Any) -> Any:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])


@pytest.fixture(scope="module")
def plain() -> onnx.ModelProto:
    torch.manual_seed(0)
    return export(Transformer().eval(), torch.from_numpy(IMAGES))


@pytest.fixture(scope="module")
def plain_maps(plain: onnx.ModelProto) -> dict[str, np.ndarray]:
    return maps(plain)


def fused(proto: onnx.ModelProto, folder: Path, operator: str) -> onnx.ModelProto:
    path = folder / "plain.onnx"
    onnx.save(proto, path)
    options = FusionOptions("vit")
    options.use_multi_head_attention = operator == "MultiHeadAttention"
    options.enable_attention = operator != "SkipLayerNormalization"
    logging.disable(logging.WARNING)  # the optimizer says what it fused
    try:
        optimized = optimizer.optimize_model(
            str(path), "vit", HEADS, WIDTH, optimization_options=options, opt_level=0
        )
    finally:
        logging.disable(logging.NOTSET)
    optimized.save_model_to_file(str(folder / "fused.onnx"))
    found = onnx.load(folder / "fused.onnx")
    written = [(node.domain, node.op_type) for node in found.graph.node]
    assert written.count(("com.microsoft", operator)) >= 3
    return found


def maps(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    model = adcc.load(proto, device="cpu")
    return {name: adcc.explain(model, IMAGES, name, target=1).maps for name in METHODS}


@pytest.mark.parametrize("operator", ["Attention", "MultiHeadAttention", "SkipLayerNormalization"])
def test_a_fused_transformer_has_the_maps_of_the_plain_one(
    operator: str,
    plain: onnx.ModelProto,
    plain_maps: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    for method, found in maps(fused(plain, tmp_path, operator)).items():
        np.testing.assert_allclose(found, plain_maps[method], atol=1e-4, err_msg=method)
