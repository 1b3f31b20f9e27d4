"""The export lines of the tutorials run where the framework is installed, with small networks.

The pages download trained weights; here, each of these lines builds a small network with random
weights instead. Every exported file is then evaluated with the card of its page.
"""

from __future__ import annotations

import os
import subprocess
import types
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import command
from helpers.documented_code import DOCS, blocks_of, lines_after
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.drawings.generate import draw
from adcc_onnx.exporting import load_recipe

pytestmark = [pytest.mark.slow, pytest.mark.ci]  # each page imports a framework


def run_page(name: str, replaced: Mapping[str, str]) -> None:
    """Run the Python blocks of a tutorial and write its card, in the working folder.

    Args:
        name: Name of the tutorial.
        replaced: Text that downloads weights, and what stands in its place.
    """
    module = types.ModuleType("documented_code")
    for block in blocks_of(DOCS / "tutorials" / f"{name}.md"):
        code = block.code
        for old, new in replaced.items():
            code = code.replace(old, new)
        if block.language == "python":
            exec(compile(code, name, "exec"), module.__dict__)
        elif block.language == "toml":
            (model,) = Path().glob("*.onnx")
            model.with_suffix(".toml").write_text(code)
    for old in replaced:
        assert any(old in block.code for block in blocks_of(DOCS / "tutorials" / f"{name}.md")), old


def check_model(kind: str, channels: int) -> None:
    """Evaluate the exported model with its card on two photos of several sizes."""
    (path,) = Path().glob("*.onnx")
    found = adcc.inspect(path)
    default = next(x for x in found["layers"] if x["name"] == found["default"]["name"])
    assert (default["kind"], default["channels"]) == (kind, channels)
    Path("photos").mkdir()
    for index, size in enumerate([(320, 240), (250, 400)]):
        Image.fromarray(draw(seed=1, index=index).image).resize(size).save(f"photos/{index}.png")
    result = adcc.evaluate(path, "photos", ["gradcam", "eigencam"], device="cpu")
    assert not result.failures
    assert all(np.isfinite(m.scores["adcc"]) for m in result.methods.values())


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "tensorflow")


@pytest.fixture
def torchvision() -> None:
    """Import torchvision as the recipe does, also a build without compiled operators."""
    pytest.importorskip("torch")
    load_recipe("torchvision")


@pytest.mark.usefixtures("torchvision")
def test_pytorch() -> None:
    run_page("pytorch", {'weights="IMAGENET1K_V1"': "weights=None, width_mult=0.1"})
    check_model("feature_map", 1280)


@pytest.mark.usefixtures("torchvision")
def test_timm() -> None:
    pytest.importorskip("timm")
    run_page("timm", {"pretrained=True": "pretrained=False, depth=2"})
    check_model("tokens", 192)


def test_keras() -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("tf2onnx")
    run_page("keras", {'weights="imagenet"': "weights=None"})
    check_model("feature_map", 256)


def test_jax() -> None:
    pytest.importorskip("jax2onnx")
    run_page("jax", {})
    check_model("feature_map", 32)


@pytest.mark.usefixtures("torchvision")
def test_hugging_face() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"image_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_labels": 3}
    config = transformers.ViTConfig(num_attention_heads=2, intermediate_size=64, **sizes)
    transformers.ViTForImageClassification(config).save_pretrained("vit")
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained("vit")
    run_page("hugging-face", {"google/vit-base-patch16-224": "./vit"})
    check_model("tokens", 32)


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("name", "replaced"),
    [
        ("pytorch", {'weights="IMAGENET1K_V1"': "weights=None"}),
        ("timm", {"pretrained=True": "pretrained=False"}),
    ],
)
def test_what_inspect_shows(name: str, replaced: dict[str, str]) -> None:
    run_page(name, replaced)
    (path,) = Path().glob("*.onnx")
    printed = subprocess.check_output(command("inspect", path), text=True).splitlines()
    shown = lines_after(f"tutorials/{name}.md", "adcc-onnx inspect")
    assert [line for line in shown if line not in printed] == []
