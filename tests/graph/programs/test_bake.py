"""A baked heatmap equals the map of `explain`, in a plain onnxruntime session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.shared_models import shared_model
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cams.method_registry import get_method, method_names
from adcc_onnx.errors import ModelError, OptionError, UnknownLayerError
from adcc_onnx.images.decoding.decode import read_image

IMAGES = np.random.default_rng(6).standard_normal((4, 3, 8, 8)).astype(np.float32)
BAKED = ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "gradcamelementwise"]
DEEPER = """second = Conv <pads = [0, 0, 1, 1]> (active, more) third = Relu (second)
  mean = GlobalAveragePool (third) flat = Flatten (mean)
  scores = Gemm <transB = 1> (flat, weights)"""


def deeper() -> onnx.ModelProto:
    model = small(DEEPER)
    kernel = np.random.default_rng(2).standard_normal((4, 4, 2, 2)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernel, "more"))
    return model


def run(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (image,) = session.get_inputs()
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, {image.name: images}), strict=True))


@pytest.mark.parametrize("method", BAKED)
@pytest.mark.parametrize("target", [None, 2])
def test_the_heatmap_equals_explain(method: str, target: int | None, tmp_path: Path) -> None:
    onnx.save(deeper(), tmp_path / "net.onnx")
    baked = adcc.bake(tmp_path / "net.onnx", method, ["active"], target)
    onnx.checker.check_model(baked, full_check=True)
    assert [value.name for value in baked.graph.output] == ["scores", "heatmap"]
    assert {opset.domain for opset in baked.opset_import} == {""}
    facts = {prop.key: prop.value for prop in baked.metadata_props}
    assert (facts["adcc_onnx.method"], facts["adcc_onnx.layers"]) == (method, "active")
    model = adcc.load(tmp_path / "net.onnx", layers="active", device="cpu")
    found = run(baked, IMAGES)
    wanted = adcc.explain(model, IMAGES, method, target).maps
    assert 0.5 < wanted.max() <= 1
    np.testing.assert_allclose(found["heatmap"], wanted, atol=1e-5)
    np.testing.assert_array_equal(found["scores"], run(deeper(), IMAGES)["scores"])


def test_cam_is_baked_where_its_head_follows(tmp_path: Path) -> None:
    onnx.save(deeper(), tmp_path / "net.onnx")
    baked = adcc.bake(tmp_path / "net.onnx", "cam", ["third"])
    model = adcc.load(tmp_path / "net.onnx", layers="third", device="cpu")
    found, wanted = run(baked, IMAGES)["heatmap"], adcc.explain(model, IMAGES, "cam").maps
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with pytest.raises(ModelError, match=r"layer 'active', but the operator Conv \('second'\)"):
        adcc.bake(tmp_path / "net.onnx", "cam", ["active"])


@pytest.mark.parametrize("fuse", ["mean", "max", "product"])
def test_maps_of_several_layers_are_fused(fuse: str, tmp_path: Path) -> None:
    onnx.save(deeper(), tmp_path / "net.onnx")
    layers = ["active", "third"]
    model = adcc.load(tmp_path / "net.onnx", layers=layers, fuse=fuse, device="cpu")
    maps = adcc.explain(model, IMAGES, "hirescam", target=1).maps
    alone = [
        adcc.explain(
            adcc.load(tmp_path / "net.onnx", layers=name, device="cpu"),
            IMAGES,
            "hirescam",
            target=1,
        ).maps
        for name in layers
    ]
    joined = {"mean": np.mean, "max": np.max, "product": np.prod}[fuse](alone, axis=0)
    low, high = joined.min(axis=(1, 2), keepdims=True), joined.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(maps, (joined - low) / (high - low), atol=1e-6)
    baked = adcc.bake(tmp_path / "net.onnx", "hirescam", layers, target=1, fuse=fuse)
    np.testing.assert_allclose(run(baked, IMAGES)["heatmap"], maps, atol=1e-5)


def test_a_constant_map_is_zeros() -> None:
    baked = adcc.bake(small(), "gradcam", ["active"])
    found = run(baked, np.zeros((2, 3, 8, 8), np.float32))
    np.testing.assert_array_equal(found["heatmap"], np.zeros((2, 8, 8)))


def test_methods_that_cannot_be_baked_give_an_error() -> None:
    for name in method_names():
        if name in [*BAKED, "cam"]:
            continue
        with pytest.raises(OptionError, match=f"^{get_method(name).name.replace('+', '.')} cannot"):
            adcc.bake(small(), name)


def test_unknown_classes_and_layers_are_errors() -> None:
    with pytest.raises(OptionError, match="no class 5: the model has 5 classes"):
        adcc.bake(small(), target=5)
    with pytest.raises(UnknownLayerError):
        adcc.bake(small(), layers=["nowhere"])


@pytest.fixture(
    scope="module",
    params=["mobilenet_v2", "deit_tiny_patch16_224", "bvlc_googlenet"],
)
def shared(request: pytest.FixtureRequest, data: Path) -> tuple[adcc.Model, np.ndarray]:
    """A real model and two photos."""
    model = shared_model(data, request.param)
    photos = sorted((data / "photos").iterdir())[:40:20]
    assert model.preprocessing is not None
    return model, np.stack([model.preprocessing(read_image(photo)) for photo in photos])


@pytest.mark.parametrize("method", BAKED)
def test_shared_models(method: str, shared: tuple[adcc.Model, np.ndarray]) -> None:
    model, images = shared
    found = run(adcc.bake(model, method), images)["heatmap"]
    np.testing.assert_allclose(found, adcc.explain(model, images, method).maps, atol=1e-5)


def test_an_open_image_size_is_an_error() -> None:
    model = small()
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[2].dim_param, dims[3].dim_param = "height", "width"
    with pytest.raises(ModelError, match="--size HxW"):
        adcc.bake(model, "gradcam")
    assert adcc.bake(model, "gradcam", size=(8, 8)).graph.output[-1].name == "heatmap"
