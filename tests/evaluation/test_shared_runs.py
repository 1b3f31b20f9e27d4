"""Explanation maps of several methods share a run if the images alone do not fill it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.runtime.session import Session

METHODS = ["gradcam", "gradcam++", "eigengradcam", "smoothgradcam++(n=2)", "random", "scorecam"]
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


def evaluated(path: Path, batch: int) -> dict[str, dict[str, float]]:
    found = adcc.evaluate(adcc.load(path, device="cpu", batch_size=batch), IMAGES, METHODS)
    assert found.failed == 0
    return {name: found.methods[name].scores for name in METHODS}


def test_the_same_scores_in_fewer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    sizes: list[int] = []
    bound = Session._bound

    def counted(self: Session, given: dict, keep: object) -> list:
        if "target" in given:
            sizes.append(len(given["target"]))
        return bound(self, given, keep)

    monkeypatch.setattr(Session, "_bound", counted)
    apart = evaluated(tmp_path / "net.onnx", 2)
    # One image tries the gradients. Then there are the images, the explanation maps of each
    # gradient method, and two noisy copies of either.
    assert sizes == [1] + [2] * (1 + 3 + 2 + 1 + 2)
    sizes.clear()
    together = evaluated(tmp_path / "net.onnx", 6)
    assert sizes == [1, 2, 6, 2, 2, 2, 2, 2]
    for name in METHODS:
        assert together[name] == pytest.approx(apart[name], abs=1e-6)
