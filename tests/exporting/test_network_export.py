"""`adcc-onnx export`: the network as it was, a card that fits it, or no file at all."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import AdccWarning, ModelError, OptionError, UnknownLayerError
from adcc_onnx.exporting import export, load_recipe, network_export
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.exporting.recipe_loading import FRAMEWORKS, PACKAGES, recipes_folder
from adcc_onnx.exporting.torch_export import folding, write_torch
from adcc_onnx.graph.classifier.published_layers import last_convolution

BACKBONES = {
    "vgg16": "features.29",
    "resnet18": "layer4",
    "resnet50": "layer4",
    "resnet101": "layer4",
    "resnext50_32x4d": "layer4",
    "resnext101_32x8d": "layer4",
}
CARD = {"size": 8, "resize": 8, "scores": "logits", "labels": ["a", "b"], "about": {"source": "s"}}


def write_network(path: Path, scale: float = 1.0) -> None:
    """Write logits = scale * (mean red, mean green)."""
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 18]>
        net (float[N, 3, 8, 8] image) => (float[N, 2] logits)
        <float[1] factor = {{{scale}}}, int64[1] one = {{1}}, int64[2] shape = {{0, 2}},
         int64[1] zero = {{0}}, int64[1] two = {{2}}> {{
            maps = Mul(image, factor)
            pooled = GlobalAveragePool(maps)
            colors = Slice(pooled, zero, two, one)
            logits = Reshape(colors, shape)
        }}""")
    onnx.save(model, path)


def colors(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=(2, 3))[:, :2]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A recipe whose framework computes `colors`; a test changes what it returns."""
    made = SimpleNamespace(scale=1.0, network=ExportedNetwork(CARD, colors), names=lambda: ["net"])

    def write(name: str, weights: str, path: Path) -> ExportedNetwork:
        write_network(path, made.scale)
        return made.network

    made.export = write
    monkeypatch.setattr(network_export, "load_recipe", lambda framework: made)
    return made


def test_the_files_of_an_export(recipe: Any, tmp_path: Path) -> None:
    path = export("torchvision:net", tmp_path / "net.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "net.labels.txt",
        "net.onnx",
        "net.toml",
    ]
    assert adcc.load(path, device="cpu").labels == ("a", "b")
    with pytest.raises(OptionError, match="exists: remove it"):
        export("torchvision:net", path)


@pytest.mark.parametrize("scale", [1.001, 1.0 + 3e-4, float("nan")])
def test_other_scores_than_the_framework_s_leave_no_file(
    recipe: Any, tmp_path: Path, scale: float
) -> None:
    recipe.scale = scale
    with pytest.raises(ModelError, match="nothing was written"):
        export("torchvision:net", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_failing_exporter_leaves_no_file(recipe: Any, tmp_path: Path) -> None:
    def broken(name: str, weights: str, path: Path) -> ExportedNetwork:
        path.write_bytes(b"half a file")
        raise ZeroDivisionError("no such luck")

    recipe.export = broken
    with pytest.raises(ModelError, match="cannot be exported: no such luck"):
        export("torchvision:net", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_layer_that_does_not_exist_leaves_no_file(recipe: Any, tmp_path: Path) -> None:
    recipe.network = ExportedNetwork({**CARD, "layer": "stage9"}, colors)
    with pytest.raises(adcc.UnknownLayerError):
        export("torchvision:net", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("resample", "shift", "warns"), [("BILINEAR", 0, False), ("BILINEAR", 9, True)]
)
def test_a_card_is_compared_with_the_framework_s_preprocessing(
    recipe: Any, tmp_path: Path, resample: str, shift: int, warns: bool
) -> None:
    def preprocess(image: Image.Image) -> np.ndarray:
        small = image.resize((10, 8), Image.Resampling[resample]).crop((1, 0, 9, 8))
        return (np.asarray(small, np.float32).transpose(2, 0, 1) + shift) / 255

    recipe.network = ExportedNetwork(CARD, colors, preprocess)
    if warns:
        with pytest.warns(AdccWarning, match="differ by up to 9 of 255"):
            export("torchvision:net", tmp_path / "net.onnx")
    else:
        export("torchvision:net", tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ("resnet18", "give FRAMEWORK:NAME"),
        ("torchvison:resnet18", "did you mean 'torchvision'"),
        ("onnx:nowhere", "there is no folder nowhere"),
    ],
)
def test_mistakes_in_the_name(network: str, told: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["export", network, "-o", str(tmp_path / "net.onnx")])
    assert result.exit_code == 1 and told in result.stderr
    assert not list(tmp_path.iterdir())


def test_every_framework_has_a_recipe_that_is_installed() -> None:
    recipes = {path.stem.removeprefix("from_") for path in recipes_folder().glob("from_*.py")}
    assert recipes == set(FRAMEWORKS)
    project = recipes_folder().parent / "pyproject.toml"
    if project.exists():
        text = project.read_text("utf-8")
        assert all(f'"models/from_{one}.py" = "adcc_onnx/recipes' in text for one in recipes)


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "onnx"])
def test_a_missing_framework_is_named_with_the_pip_command(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"torchvision": "torch", "paddle": "paddle"}.get(framework, framework)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=re.escape(f"pip install {PACKAGES[framework]}")):
        load_recipe(framework)


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
    assert adcc.evaluate(model, "drawings:2", "gradcam").images == 2


def test_the_papers_backbones_have_their_layer(torchvision: ModuleType) -> None:
    import torch

    recipe = load_recipe("torchvision")
    assert set(BACKBONES) <= set(recipe.names())
    for name, layer in BACKBONES.items():
        with torch.device("meta"):  # modules without weights
            network = torchvision.models.get_model(name, weights=None)
        assert recipe.layer(name, network) == layer
        assert layer in dict(network.named_modules())


@pytest.mark.parametrize(
    ("network", "weights", "told"),
    [
        ("torchvision:resnet81", "none", "did you mean 'resnet18'"),
        ("torchvision:resnet18", "IMAGENET1K_V9", "give none, default, IMAGENET1K_V1"),
        ("torchvision:resnet18", "other.pth", "is not a state dict of this network: it lacks"),
        ("torchvision:resnet18", "code.pth", "holds no state dict that torch can read safely"),
    ],
)
def test_mistakes_leave_no_file(
    network: str, weights: str, told: str, tmp_path: Path, torchvision: ModuleType
) -> None:
    import torch

    torch.save({"strange": torch.zeros(2)}, tmp_path / "other.pth")
    torch.save({"code": print}, tmp_path / "code.pth")
    given = str(tmp_path / weights) if weights.endswith("pth") else weights
    out = tmp_path / "net.onnx"
    result = CliRunner().invoke(main, ["export", network, "--weights", given, "-o", str(out)])
    assert result.exit_code == 1 and told in result.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["code.pth", "other.pth"]


def test_a_failed_download_says_which_file_to_place_where(
    tmp_path: Path, torchvision: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(ModelError) as raised:
        export("torchvision:resnet18", tmp_path / "net.onnx")
    told = str(raised.value)
    assert "get https://download.pytorch.org/models/resnet18-f37072fd.pth" in told
    assert f"place the file in {tmp_path}/torch/hub/checkpoints" in told
    assert "--weights none" in told and "Name or service not known" in told
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("folds", [True, False])
def test_batch_normalization_is_kept_on_request(folds: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 5)).eval()
    with folding(folds):
        write_torch(network, (8, 8), tmp_path / "net.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    assert ("BatchNormalization" in operators) is not folds
    classifier = adcc.load(tmp_path / "net.onnx", device="cpu").classifier
    if folds:
        with pytest.raises(UnknownLayerError, match="--no-fold"):
            last_convolution(classifier, normalized=True)
    else:
        assert last_convolution(classifier, normalized=True)


def test_other_frameworks_keep_no_batch_normalization() -> None:
    with pytest.raises(OptionError, match="torchvision, timm, transformers, not keras"):
        adcc.export("keras:MobileNetV2", weights="none", fold=False)
