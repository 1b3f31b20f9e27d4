"""Every recipe, from a small network with random weights to a finished evaluation.

The frameworks are the oracles: `export` itself compares the scores, and these tests compare the
preprocessing of the card with the framework's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.exporting import export, load_recipe


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """An image with edges and gradients, which is not square."""
    coarse = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    return Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)


def evaluated(path: Path) -> adcc.Model:
    """Evaluate one method on two images, and return the model."""
    model = adcc.load(path, device="cpu")
    result = adcc.evaluate(model, "drawings:2", "gradcam", controls=False)
    assert (result.images, result.failed) == (2, 0)
    assert 0 <= result.methods["gradcam"].scores["adcc"] <= 1
    return model


def tensor(model: adcc.Model, image: Image.Image) -> np.ndarray:
    assert model.preprocessing is not None
    return model.preprocessing(np.asarray(image))


@pytest.mark.parametrize("name", ["test_vit", pytest.param("test_resnet", marks=pytest.mark.slow)])
def test_timm(name: str, tmp_path: Path, photo: Image.Image, torchvision: ModuleType) -> None:
    timm = pytest.importorskip("timm")
    model = evaluated(export(f"timm:{name}", tmp_path / "net.onnx", "none"))
    assert model.labels is not None and model.labels[0].startswith("tench")
    network = timm.create_model(name)
    steps = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    np.testing.assert_allclose(tensor(model, photo), steps(photo).numpy(), atol=1e-6)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.slow
def test_a_state_dict_of_timm(tmp_path: Path, torchvision: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    network = timm.create_model("test_vit").eval()
    # As a training script on several GPUs stores it.
    parallel = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": parallel, "epoch": 3}, tmp_path / "vit.pth")
    path = export("timm:test_vit", tmp_path / "net.onnx", tmp_path / "vit.pth")
    images = np.random.default_rng(1).standard_normal((2, 3, *adcc.load(path).size))
    with torch.no_grad():
        wanted = network(torch.from_numpy(images.astype(np.float32))).numpy()
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {"image": images.astype(np.float32)})
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def hugging_face_folder(folder: Path, kind: str) -> Path:
    """Save a tiny classifier and its image processor with other settings than the defaults."""
    transformers = pytest.importorskip("transformers")
    small = {
        "vit": {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
                "intermediate_size": 48, "image_size": 32, "patch_size": 8},
        "convnext": {"num_stages": 4, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
        "mobilenet_v2": {"depth_multiplier": 0.1},
    }[kind]  # fmt: skip
    settings = {
        "vit": {"size": {"height": 32, "width": 32}, "resample": 3},
        "convnext": {"size": {"shortest_edge": 64}, "crop_pct": 0.8},
        "mobilenet_v2": {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}},
    }[kind]
    names = dict(enumerate(["cat", "dog", "bird"]))
    config = transformers.AutoConfig.for_model(kind, id2label=names, **small)
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    processors = {"vit": "ViT", "convnext": "ConvNext", "mobilenet_v2": "MobileNetV2"}
    processor = getattr(transformers, f"{processors[kind]}ImageProcessor")(**settings)
    processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "kind",
    ["vit", *(pytest.param(k, marks=pytest.mark.slow) for k in ("convnext", "mobilenet_v2"))],
)
def test_transformers(
    kind: str, tmp_path: Path, photo: Image.Image, torchvision: ModuleType
) -> None:
    folder = hugging_face_folder(tmp_path / "checkpoint", kind)
    path = export(f"transformers:{kind}", tmp_path / "net.onnx", folder)
    model = evaluated(path)
    classes = model.classifier.classes
    assert model.labels is not None and model.labels[:3] == ("cat", "dog", "bird")
    assert classes == len(model.labels)
    import transformers

    own = transformers.AutoImageProcessor.from_pretrained(folder)
    wanted = own(photo, return_tensors="np")["pixel_values"][0]
    steps = model.preprocessing
    assert steps is not None
    # torchvision resizes tensors in fixed point: a pixel value may be rounded differently.
    unit = 1.0 / (steps.scale * min(steps.std))
    assert np.abs(tensor(model, photo) - wanted).max() <= 1.01 * unit


def test_mistakes_with_transformers(tmp_path: Path, torchvision: ModuleType) -> None:
    pytest.importorskip("transformers")
    for network, weights, told in (
        ("transformers:vitt", "none", "did you mean 'vit'"),
        ("transformers:vit", "default", "is an architecture: give a checkpoint"),
        ("transformers:google/vit-base-patch16-224", "none", "random weights need an architecture"),
        ("transformers:vit", tmp_path, "there is no file"),
    ):
        with pytest.raises(adcc.OptionError, match=told):
            export(network, tmp_path / "net.onnx", weights)
    assert not list(tmp_path.iterdir())


SKLEARN = """
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

def digits():
    data = load_digits()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=50))
    return pipeline.fit(data.data, data.target), {"size": 8, "resize": 8, "scale": 255 / 16}

def unfitted():
    return LogisticRegression(), {"size": 8}

def no_card():
    return LogisticRegression()

def no_size():
    return LogisticRegression(), {"scale": 1}

def failing():
    raise KeyError("lost")
"""


def test_sklearn(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    datasets = pytest.importorskip("sklearn.datasets")
    (tmp_path / "own.py").write_text(SKLEARN)
    path = export(f"sklearn:{tmp_path}/own.py:digits", tmp_path / "net.onnx")
    model = evaluated(path)
    assert model.labels == tuple("0123456789")
    data = datasets.load_digits()
    pixels = np.rint(data.images[:200] * 255 / 16).astype(np.uint8)
    images = [np.repeat(one[:, :, None], 3, axis=2) for one in pixels]
    result = adcc.evaluate(
        model, images, "gradcam", labels=data.target[:200].tolist(), controls=False
    )
    assert result.top1 is not None and result.top1 > 0.97


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("unfitted", "returns an estimator that is not fitted"),
        ("no_card", "must return a pair"),
        ("no_size", "lacks the key 'size'"),
        ("failing", "failed: KeyError: 'lost'"),
        ("digit", "has no function 'digit'; did you mean 'digits'"),
        ("", "give sklearn:FILE.py:FUNCTION"),
    ],
)
def test_mistakes_in_own_functions(function: str, told: str, tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    (tmp_path / "own.py").write_text(SKLEARN)
    with pytest.raises(adcc.OptionError, match=told):
        export(f"sklearn:{tmp_path}/own.py:{function}", tmp_path / "net.onnx")
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["own.py"]


FLAX = """
import jax
from flax import nnx

class Network(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(3, 8, (3, 3), strides=2, rngs=rngs)
        self.normal = nnx.BatchNorm(8, rngs=rngs)
        self.second = nnx.Conv(8, 16, (3, 3), rngs=rngs)
        self.linear = nnx.Linear(16, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.second(nnx.relu(self.normal(self.first(x)))))
        return self.linear(jax.numpy.mean(x, axis=(1, 2)))

def build():
    return Network(nnx.Rngs(0)), {"preset": "torch", "size": 32, "labels": list("abcde")}
"""


@pytest.mark.ci
@pytest.mark.slow
def test_flax(tmp_path: Path) -> None:
    pytest.importorskip("flax")
    pytest.importorskip("jax2onnx")
    (tmp_path / "own.py").write_text(FLAX)
    model = evaluated(export(f"flax:{tmp_path}/own.py:build", tmp_path / "net.onnx"))
    assert (model.size, model.classifier.layout, model.labels) == ((32, 32), "NHWC", (*"abcde",))


def test_a_ready_file_with_its_test_data(tmp_path: Path) -> None:
    from adcc_onnx.drawings import classifier_path

    folder = tmp_path / "drawings"
    (folder / "test_data_set_0").mkdir(parents=True)
    shutil.copy(classifier_path(), folder / "model.onnx")
    images = np.random.default_rng(0).standard_normal((2, 3, 112, 112)).astype(np.float32)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (scores,) = session.run(None, {"image": images})

    def store(values: np.ndarray, name: str) -> None:
        file = folder / "test_data_set_0" / f"{name}.pb"
        file.write_bytes(numpy_helper.from_array(values).SerializeToString())

    store(images, "input_0")
    store(scores, "output_0")
    path = export(f"onnx:{folder}", tmp_path / "net.onnx")
    operators = [
        [node.op_type for node in onnx.load(f).graph.node] for f in (path, classifier_path())
    ]
    assert operators[0] == operators[1]
    store(scores + 0.1, "output_0")
    with pytest.raises(adcc.ModelError, match="nothing was written"):
        export(f"onnx:{folder}", tmp_path / "other.onnx")
    (folder / "test_data_set_0" / "output_0.pb").write_bytes(b"no tensor")
    with pytest.raises(adcc.ModelError, match="holds no tensor"):
        export(f"onnx:{folder}", tmp_path / "other.onnx")
    (folder / "test_data_set_0" / "output_0.pb").unlink()
    with pytest.raises(adcc.OptionError, match="needs test_data_set_0"):
        export(f"onnx:{folder}", tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize(
    "backend", [pytest.param("tensorflow", marks=pytest.mark.ci), "jax", "torch"]
)
@pytest.mark.slow
def test_keras(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("keras")
    pytest.importorskip("tf2onnx")
    pytest.importorskip({"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}[backend])
    # The backend of Keras cannot be changed within a process.
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "adcc_onnx", "export", "keras:MobileNet", "--weights", "none"]
    run = subprocess.run(
        [*command, "-o", "net.onnx"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    model = evaluated(tmp_path / "net.onnx")
    assert (model.size, model.classifier.layout) == ((224, 224), "NHWC")
    assert f"({backend})" in (tmp_path / "net.toml").read_text()


@pytest.mark.parametrize(
    "name", ["MobileNet", "VGG16", "DenseNet121", "ResNet50V2", "Xception", "ConvNeXtTiny"]
)
def test_keras_preprocessing_equals_that_of_the_family(name: str) -> None:
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    steps = load_recipe("keras").preprocessing(name)
    module = {"VGG16": "vgg16", "DenseNet121": "densenet", "ResNet50V2": "resnet_v2"}
    own = getattr(keras.applications, module.get(name, name.removesuffix("Tiny").lower()))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.float32)
    ordered = pixels if steps["channels"] == "RGB" else pixels[..., ::-1]
    ours = (ordered / steps["scale"] - steps["mean"]) / steps["std"]
    np.testing.assert_allclose(ours, own.preprocess_input(pixels.copy()), atol=1e-4)


@pytest.mark.slow
def test_paddle(tmp_path: Path) -> None:
    """In a Python environment of its own, ADCC_PADDLE_PYTHON; see docs/development.md."""
    python = os.environ.get("ADCC_PADDLE_PYTHON")
    if python is None:
        pytest.skip("ADCC_PADDLE_PYTHON is not the Python of an environment with Paddle")
    environment = {**os.environ, "PYTHONPATH": str(Path(adcc.__file__).parents[1])}
    command = [python, "-m", "adcc_onnx", "export", "paddle:mobilenet_v1", "--weights", "none"]
    run = subprocess.run(
        [*command, "-o", "net.onnx"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert evaluated(tmp_path / "net.onnx").size == (224, 224)


def test_own_networks_need_their_framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(adcc.ModelError, match="pip install --no-deps jax2onnx"):
        export("flax:own.py:build", tmp_path / "net.onnx")
