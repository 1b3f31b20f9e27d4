"""`adcc-onnx export`: the network as it was, and a card that the evaluator understands."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import ModelError, OptionError
from adcc_onnx.exporting import export, load_recipe

BACKBONES = ("vgg16", "resnet18", "resnet50", "resnet101", "resnext50_32x4d", "resnext101_32x8d")


def test_a_state_dict_becomes_a_model_with_its_card(
    tmp_path: Path, torchvision: ModuleType
) -> None:
    import torch

    torch.manual_seed(3)
    network = torchvision.models.resnet18(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    path = export("torchvision:resnet18", tmp_path / "net.onnx", str(tmp_path / "weights.pth"))
    images = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.run(None, {"image": images})[0], wanted, atol=1e-4)
    model = adcc.load(path, device="cpu")
    assert model.labels is not None and len(model.labels) == 1000
    assert model.preprocessing is not None and model.preprocessing.resize == 256
    (layer,) = model.layers
    assert (layer.name, layer.channels, layer.grid) == ("layer4", 512, (7, 7))
    with pytest.raises(OptionError, match="exists: remove it"):
        export("torchvision:resnet18", path, "none")


def test_the_papers_backbones_have_their_layer(torchvision: ModuleType) -> None:
    recipe = load_recipe("torchvision")
    assert set(recipe.LAYERS) == set(BACKBONES) <= set(recipe.names())
    for name in BACKBONES:
        network = torchvision.models.get_model(name, weights=None)
        assert recipe.LAYERS[name] in dict(network.named_modules())


@pytest.mark.parametrize(
    ("network", "weights", "told"),
    [
        ("resnet18", "default", "give torchvision:NAME or keras:NAME"),
        ("torchvision:resnet81", "none", "did you mean 'resnet18'"),
        ("torchvision:resnet18", "IMAGENET1K_V9", "give none, default, IMAGENET1K_V1"),
        ("torchvision:resnet18", "other.pth", "is not a state dict of this model"),
    ],
)
def test_mistakes_leave_no_file(
    network: str, weights: str, told: str, tmp_path: Path, torchvision: ModuleType
) -> None:
    import torch

    torch.save({"strange": torch.zeros(2)}, tmp_path / "other.pth")
    given = str(tmp_path / weights) if weights.endswith("pth") else weights
    out = tmp_path / "net.onnx"
    result = CliRunner().invoke(main, ["export", network, "--weights", given, "-o", str(out)])
    assert result.exit_code == 1 and told in result.stderr
    assert not out.exists()


def test_a_missing_framework_is_named_with_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ModelError, match="pip install keras tensorflow tf2onnx"):
        load_recipe("keras")
