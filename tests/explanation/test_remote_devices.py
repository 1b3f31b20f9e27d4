"""A device with its own memory: images are copied once; only scores and small maps return.

The tests run on the CPU, with a device that pretends to have its own memory.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.explanation.samples import tensor_of
from adcc_onnx.graph.programs.tensor_names import ACTIVATIONS, GRADIENTS, IMAGE
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.model import Model
from adcc_onnx.runtime.device_array import DeviceArray
from adcc_onnx.runtime.devices import Device
from adcc_onnx.runtime.session import Session

ASSEMBLED = ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "gradcamelementwise"]
OTHERS = ["fakecam", "eigencam", "smoothgradcam++(n=2)", "scorecam(passes=4)", "ablationcam"]
OTHERS += [
    "cam",
    "finercam",
    "reciprocam",
    "saliency",
    "opticam(steps=2)",
    "groupcam(groups=4)",
    "random",
]
FEATURES = "/7/Relu_1_output_0"  # the default layer


def pretend_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "remote", property(lambda self: True))


def loaded(layers: list[str] | None = None) -> Model:
    return adcc.load(classifier_path(), device="cpu", batch_size=3, layers=layers)


@pytest.mark.parametrize(
    ("protocol", "layers"),
    [
        ("poppi2021", None),
        ("openvino", ["/5/Relu_output_0", FEATURES]),
        pytest.param("openvino", None, marks=pytest.mark.slow),
        pytest.param("poppi2021", ["/5/Relu_output_0", FEATURES], marks=pytest.mark.slow),
    ],
)
def test_the_same_scores(
    protocol: str, layers: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ASSEMBLED if layers else [*ASSEMBLED, *OTHERS]

    def scores() -> dict[str, dict[str, float]]:
        found = adcc.evaluate(loaded(layers), "drawings:7", methods, protocol=protocol)
        return {name: found.methods[name].scores for name in methods}

    expected = scores()
    pretend_own_memory(monkeypatch)
    for name, found in scores().items():
        assert found == pytest.approx(expected[name], abs=1e-5), name


def test_images_are_copied_once_and_gradients_stay_on_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_own_memory(monkeypatch)
    sent: list[int] = []
    original = DeviceArray.put.__func__

    def put(cls: type[DeviceArray], array: np.ndarray, *where: Any) -> DeviceArray:
        sent.append(len(array))
        return original(cls, array, *where)

    monkeypatch.setattr(DeviceArray, "put", classmethod(put))
    run = Session.run_keeping
    fetched: list[DeviceArray] = []

    def watched(self: Session, keep: Any, batched: Any, shared: Any = None) -> Any:
        if len(next(iter(batched.values()))) == 1:  # the trial of the methods on one image
            return run(self, keep, batched, shared)
        assert not isinstance(batched.get(IMAGE), np.ndarray)
        scores, kept = run(self, keep, batched, shared)
        fetched.extend(kept[name] for name in (ACTIVATIONS, GRADIENTS) if name in kept)
        return scores, kept

    monkeypatch.setattr(Session, "run_keeping", watched)
    model = loaded()
    images = np.stack([tensor_of(record, False, model) for record in as_source("drawings:6")])
    adcc.evaluate(model, images, ASSEMBLED, controls=False)
    assert sent == [3, 3]
    # The first pass, and one on the explanation maps of methods with equal maps, for each of two
    # batches: at this layer xgradcam equals hirescam, and layercam equals gradcamelementwise.
    assert len(fetched) == 2 * 2 * (1 + len(ASSEMBLED) - 2)
    assert not any("array" in vars(values) for values in fetched)


def test_parts_of_kept_values() -> None:
    images = np.arange(20, dtype=np.float32).reshape(10, 2)
    kept = DeviceArray.put(images, loaded().device, 4)
    assert len(kept) == 10 and kept.edges == [0, 4, 8, 10]
    values = [(kept.part(*edges), edges[1] - edges[0]) for edges in itertools.pairwise(kept.edges)]
    np.testing.assert_array_equal(DeviceArray(values).array, images)
    np.testing.assert_array_equal(kept.part(4, 8).numpy(), images[4:8])
    np.testing.assert_array_equal(kept.part(4, 6), images[4:6])
