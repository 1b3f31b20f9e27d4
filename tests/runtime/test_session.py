"""A session equals onnxruntime for any batch size, and copies shared inputs once."""

from __future__ import annotations

from unittest import mock

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.small_models import small

from adcc_onnx.graph.classifier.image_classifier import read_classifier
from adcc_onnx.graph.classifier.opening import fix_size
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.perturb import build_masked, build_pixel_replacement
from adcc_onnx.runtime.devices import Device, choose_device
from adcc_onnx.runtime.session import Session

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((11, 3, 8, 8)).astype(np.float32)


def plain(images: np.ndarray) -> np.ndarray:
    model = small().SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


@pytest.mark.parametrize("batch", [1, 3, 4, 11, 50])
@pytest.mark.parametrize("turned", [False, True])
def test_any_batch_gives_the_same(batch: int, turned: bool) -> None:
    session = Session(ir.from_proto(small()), choose_device("cpu"), batch)
    given = np.asfortranarray(IMAGES) if turned else IMAGES
    np.testing.assert_array_equal(session.run({"image": given})["scores"], plain(IMAGES))
    assert session.samples == 11 and session.seconds > 0


def test_shared_inputs_are_copied_once_for_all_runs() -> None:
    classifier = read_classifier(prepare(ir.from_proto(small())))
    fix_size(classifier, (8, 8))
    session = Session(build_masked(classifier), choose_device("cpu"), 4)
    masks = RNG.random((11, 8, 8)).astype(np.float32)
    to_ort_value = onnxruntime.OrtValue.ortvalue_from_numpy
    with mock.patch.object(
        onnxruntime.OrtValue, "ortvalue_from_numpy", side_effect=to_ort_value
    ) as counted:
        found = session.run({"masks": masks}, {"image": IMAGES[:1]})["logits"]
    assert counted.call_count == 1
    np.testing.assert_allclose(found, plain(IMAGES[0] * masks[:, None]), atol=1e-5)


def test_ranked_pixels_are_replaced_inside_the_graph() -> None:
    classifier = read_classifier(prepare(ir.from_proto(small())))
    fix_size(classifier, (8, 8))
    session = Session(build_pixel_replacement(classifier), choose_device("cpu"), 3)
    order = RNG.permutation(64).reshape(8, 8)
    counts = np.array([0, 1, 17, 63, 64])
    shared = {
        "image": IMAGES[:1],
        "baseline": IMAGES[1:2],
        "ranks": order[None, None].astype(np.float32),
    }
    found = session.run({"counts": counts.astype(np.float32)}, shared)["logits"]
    images = [np.where(order < count, IMAGES[1], IMAGES[0]) for count in counts]
    np.testing.assert_allclose(found, plain(np.stack(images)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("cpu", ("cpu", 0)),
        ("cuda:0", ("cuda", 0)),
        ("cuda:3", ("cuda", 3)),
        ("tensorrt:1", ("cuda", 1)),
        ("openvino", ("cpu", 0)),
    ],
)
def test_the_memory_of_a_device(name: str, home: tuple[str, int]) -> None:
    assert Device(name, "", []).memory == home
