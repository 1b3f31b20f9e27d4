"""The built-in classifiers."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from adcc_onnx.drawings import CLASSIFIERS, classifier_path
from adcc_onnx.drawings.generate import Drawing, draw_many
from adcc_onnx.drawings.outlines import CLASSES

UNSEEN_SEED, COUNT = 77, 500  # trained on seed 0


@pytest.fixture(scope="module", params=CLASSIFIERS)
def path(request: pytest.FixtureRequest) -> Path:
    return classifier_path(request.param)


@pytest.fixture(scope="module")
def card(path: Path) -> dict[str, object]:
    return tomllib.loads(path.with_suffix(".toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def session(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def drawn() -> list[Drawing]:
    return list(draw_many(UNSEEN_SEED, COUNT))


@pytest.fixture(scope="module")
def tensors(drawn: list[Drawing], card: dict[str, object]) -> np.ndarray:
    images = np.stack([drawing.image for drawing in drawn]).astype("f4")
    mean, std = np.array(card["mean"], "f4"), np.array(card["std"], "f4")
    return ((images / np.float32(card["scale"]) - mean) / std).transpose(0, 3, 1, 2)


def test_its_accuracy_on_test_drawings(
    session: ort.InferenceSession, drawn: list[Drawing], tensors: np.ndarray
) -> None:
    (logits,) = session.run(["logits"], {"image": tensors})
    right = logits.argmax(axis=1) == [drawing.label for drawing in drawn]
    assert right.mean() >= 0.95


def test_the_card_fits_the_model(
    path: Path, session: ort.InferenceSession, card: dict[str, object]
) -> None:
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert image.shape == ["batch", 3, card["size"], card["size"]]
    assert logits.shape == ["batch", len(CLASSES)]
    assert card["channels"] == "RGB"
    labels = path.with_name(str(card["labels"])).read_text("utf-8")
    assert tuple(labels.splitlines()) == CLASSES


def test_an_image_scores_the_same_in_any_batch(
    session: ort.InferenceSession, tensors: np.ndarray
) -> None:
    (together,) = session.run(["logits"], {"image": tensors[:7]})
    alone = [session.run(["logits"], {"image": tensors[i : i + 1]})[0][0] for i in range(7)]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_the_file_is_small_and_holds_no_local_paths(path: Path) -> None:
    content = path.read_bytes()
    assert len(content) < 2_000_000
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert not any(node.doc_string for node in model.graph.node)
    assert b"/" not in b"".join(
        prop.value.encode() for node in model.graph.node for prop in node.metadata_props
    )
    assert b".py" not in content
    assert {opset.domain for opset in model.opset_import} == {""}


def test_the_maps_of_the_convolutional_network_localize_the_object(
    drawn: list[Drawing], tensors: np.ndarray
) -> None:
    """CAM (Zhou et al. 2016) of the right class: the pooled head's weights over the last map."""
    model = onnx.load(classifier_path())
    pooling = next(node for node in model.graph.node if node.op_type == "GlobalAveragePool")
    head = next(node for node in model.graph.node if node.op_type == "Gemm")
    weights = next(
        onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name == head.input[1]
    )
    layer = onnx.ValueInfoProto(name=pooling.input[0])
    model.graph.output.append(layer)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (activations,) = session.run([layer.name], {"image": tensors[:200]})
    labels = [drawing.label for drawing in drawn[:200]]
    maps = np.maximum(np.einsum("nkhw,nk->nhw", activations, weights[labels]), 0)
    masks = np.stack([drawing.mask for drawing in drawn[:200]])
    cell = masks.shape[1] // maps.shape[1]
    inside = masks.reshape(200, maps.shape[1], cell, maps.shape[2], cell).mean(axis=(2, 4))
    share = (maps * inside).sum(axis=(1, 2)) / np.maximum(maps.sum(axis=(1, 2)), 1e-9)
    area = masks.mean(axis=(1, 2))
    assert np.mean(share / area) > 2.0  # an even map would score 1
