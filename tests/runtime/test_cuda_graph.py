"""CUDA graphs: runs share buffers, and the next run does not change earlier results.

On the CPU nothing is recorded, but inputs and outputs use the same buffers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.errors import AdccWarning, OptionError
from adcc_onnx.runtime import cuda, session_opening
from adcc_onnx.runtime.device_array import DeviceArray
from adcc_onnx.runtime.devices import CPU_PROVIDER, Device, capturing, choose_device, uncapturing
from adcc_onnx.runtime.session import Session

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((11, 3, 8, 8)).astype(np.float32)
CARD = Device("cuda:1", "", [(cuda.PROVIDER, {"device_id": "1"}), CPU_PROVIDER])
DEVICE = replace(choose_device("cpu"), captures=True)


def test_full_batches_and_the_rest() -> None:
    model = ir.from_proto(small())
    plain, recorded = Session(model, choose_device("cpu"), 4), Session(model, DEVICE, 4)
    expected = plain.run({"image": IMAGES})["scores"]
    before = IMAGES.copy()
    for _ in range(2):
        np.testing.assert_array_equal(recorded.run({"image": IMAGES})["scores"], expected)
    np.testing.assert_array_equal(IMAGES, before)
    assert recorded.samples == 22


def test_kept_values_outlive_the_next_run() -> None:
    session = Session(ir.from_proto(small()), DEVICE, 4)
    on_device = DeviceArray.put(IMAGES[:8], DEVICE, 4)
    _, first = session.run_keeping(["scores"], {"image": on_device})
    _, second = session.run_keeping(["scores"], {"image": -IMAGES[:8]})
    plain = Session(ir.from_proto(small()), choose_device("cpu"), 4)
    for kept, images in ((first, IMAGES), (second, -IMAGES)):
        expected = plain.run({"image": images[:8]})["scores"]
        np.testing.assert_array_equal(kept["scores"].array, expected)


def test_an_evaluation_with_recorded_runs(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    methods = ["gradcam", "layercam", "scorecam", "smoothgradcam++(n=3)", "ablationcam"]
    model = adcc.load(tmp_path / "net.onnx", device="cpu", batch_size=4)
    expected = adcc.evaluate(model, IMAGES, methods).methods
    monkeypatch.setattr(Device, "remote", property(lambda self: True))
    found = adcc.evaluate(replace(model, device=DEVICE), IMAGES, methods).methods
    for name in methods:
        assert found[name].scores == pytest.approx(expected[name].scores, abs=1e-5)


def test_a_graph_that_cannot_be_recorded_runs_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    card = capturing(CARD)
    opened = onnxruntime.InferenceSession

    def refusing(graph: bytes, options: object, providers: list, **more: object) -> object:
        if "enable_cuda_graph" in providers[0][1]:
            raise RuntimeError("This session cannot use the graph capture feature")
        return opened(graph, options, providers=[CPU_PROVIDER])

    monkeypatch.setattr(onnxruntime, "InferenceSession", refusing)
    monkeypatch.setattr(session_opening, "_require_provider", lambda session, device: None)
    monkeypatch.setattr(Device, "memory", ("cpu", 0))
    with pytest.warns(AdccWarning, match="without a CUDA graph: This session cannot"):
        session = Session(ir.from_proto(small()), card, 4)
    assert session.run({"image": IMAGES})["scores"].shape == (11, 5)


def test_only_cuda_records() -> None:
    made = capturing(CARD)
    options = {"device_id": "1", "enable_cuda_graph": "1"}
    assert made.captures and made.providers == [(cuda.PROVIDER, options), CPU_PROVIDER]
    assert uncapturing(made).providers == CARD.providers and not uncapturing(made).captures
    with pytest.raises(OptionError, match="CUDA graphs need --device cuda, not cpu"):
        capturing(choose_device("cpu"))
