"""The default layer and its gradient against the layers of timm's and transformers' own code.

Here are tiny networks of twelve kinds; all families are compared by hand and by the slow test. The
table is in docs/results/families.md.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

torch = pytest.importorskip("torch")
for _library in ("timm", "transformers"):
    if find_spec(_library) is None:
        pytest.skip(f"{_library} is not installed", allow_module_level=True)

from helpers.library_families import Row, check_in_time, compare, export, jobs
from helpers.library_networks import (
    Network,
    declare_torchvision_operators,
    randomize,
    transformers_network,
)
from helpers.selected import slow_except

_PARTS = 32  # the networks of a library are split, so that `-k` can select some of them
_VIT: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "num_heads": 2}


def vit(**options: Any) -> Callable[[], Network]:
    """A vision transformer of timm with two blocks."""

    def build() -> Network:
        declare_torchvision_operators()
        from timm.models.vision_transformer import VisionTransformer

        torch.manual_seed(0)
        module = VisionTransformer(depth=2, num_classes=10, **_VIT, **options)
        return Network("vit", randomize(module), (32, 32))

    return build


def hugging_face(family: str, attention: str = "eager") -> Callable[[], Network]:
    """A tiny network of transformers."""
    return lambda: transformers_network(family, attention)


# name -> how to build it, and the layer of the library's own code
TINY: dict[str, tuple[Callable[[], Network], str]] = {
    "class token": (vit(), "blocks.1.norm1"),
    "patch tokens without registers": (
        vit(global_pool="avg", reg_tokens=4, class_token=True),
        "blocks.1.norm1",
    ),
    "attention pooling": (vit(global_pool="map", class_token=False), "blocks.1.norm1"),
    "beit": (hugging_face("beit"), "beit.layers.1.layernorm_before"),
    "vit, sdpa": (hugging_face("vit", "sdpa"), "vit.layers.1.layernorm_before"),
    "siglip": (hugging_face("siglip"), "vision_model.encoder.layers.1.layer_norm1"),
    "clip": (hugging_face("clip"), "vision_model.encoder.layers.1.layer_norm1"),
    "swin": (hugging_face("swin"), "swin.encoder.layers.1.blocks.0.layernorm_before"),
    "convnext": (hugging_face("convnext"), "convnext"),
    "weight standardization": (hugging_face("bit"), "bit"),
    "class token of a pyramid": (
        hugging_face("cvt"),
        "cvt.encoder.stages.2.layers.2.layernorm_before",
    ),
    "segformer": (hugging_face("segformer"), "segformer"),
}
DEFAULT = ("class token", "attention pooling", "vit, sdpa", "swin", "convnext")


@pytest.mark.parametrize("kind", slow_except(DEFAULT, TINY))
def test_default_layer_and_gradient_of_a_tiny_network(kind: str) -> None:
    build, own = TINY[kind]
    network = build()
    torch.manual_seed(0)
    x = torch.randn(2, 3, *network.size)
    row = compare(network.module, export(network.module, x), x, kind)
    assert row.own == own, row
    assert row.gradient_error < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("library", ["timm", "transformers", "dynamo"])
def test_every_family(library: str, part: int) -> None:
    """What is exported has the library's own layer, unless it is called a guess."""
    wrong: list[Row] = []
    for name, build, dynamo in list(jobs(library, []))[part::_PARTS]:
        row = check_in_time(build, name, dynamo)
        exported = not row.remark.startswith(("not built", "not exported"))
        right = bool(row.own) and row.gradient_error < 1e-4
        if exported and not right and "a guess" not in row.reason:
            wrong.append(row)
    assert not wrong
