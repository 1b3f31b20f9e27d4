"""Runs on a card have few different numbers of rows, and results never hold the repeated ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from helpers.small_models import small

from adcc_onnx.runtime import session_opening
from adcc_onnx.runtime.device_array import DeviceArray
from adcc_onnx.runtime.devices import Device, choose_device
from adcc_onnx.runtime.filling import Filling
from adcc_onnx.runtime.session import Session

IMAGES = np.random.default_rng(0).standard_normal((27, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pretend that the device has memory of its own; the number of rows of every run."""
    monkeypatch.setattr(Device, "remote", property(lambda self: True))
    monkeypatch.setattr(session_opening, "share_card_arena", lambda options, device: None)
    counted: list[int] = []
    run = Session._run

    def counting(self: Session, feeds: Any, shared: Any, keep: Any) -> Any:
        results = run(self, feeds, shared, keep)
        counted.append(results[0].shape()[0])
        return results

    monkeypatch.setattr(Session, "_run", counting)
    return counted


@pytest.mark.parametrize("on_device", [False, True])
def test_the_last_run_is_filled_up(rows: list[int], on_device: bool) -> None:
    device = choose_device("cpu")
    session = Session(ir.from_proto(small()), device, 8)
    for count in (27, 5, 1):
        given: Any = IMAGES[:count]
        expected = session.run({"image": given})["scores"]
        assert expected.shape == (count, 5)
        if on_device:
            given = DeviceArray.put(given, device, 8, Filling())
            np.testing.assert_array_equal(session.run({"image": given})["scores"], expected)
    alone = [session.run({"image": IMAGES[i : i + 1]})["scores"] for i in range(27)]
    together = session.run({"image": IMAGES})["scores"]
    np.testing.assert_allclose(np.concatenate(alone), together, rtol=1e-5)
    assert rows[:4] == [8, 8, 8, 8]
    assert set(rows) <= {1, 5, 8}


def test_the_cpu_repeats_nothing() -> None:
    session = Session(ir.from_proto(small()), choose_device("cpu"), 8)
    filled = session._filled({"image": IMAGES[:3]}, 3, several=True)
    assert filled["image"].shape[0] == 3
