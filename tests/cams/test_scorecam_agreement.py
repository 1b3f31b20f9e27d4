"""The long proof as a test: few-pass Score-CAM on all photos (docs/results/scorecam.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import scorecam_agreement

import adcc_onnx as adcc


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "preset"), [("mobilenet_v2", "torch"), ("bvlc_googlenet", "caffe")]
)
def test_a_tenth_of_the_passes(name: str, preset: str, data: Path, tmp_path: Path) -> None:
    model = adcc.load(data / "models" / f"{name}.onnx", preprocessing=preset, device="cpu")
    photos = sorted((data / "photos").iterdir())
    rows = scorecam_agreement.collect(model, photos, tmp_path / "rows.jsonl")
    found = scorecam_agreement.summary(rows)
    assert found["passes"] <= found["live"] / 10
    assert found["median"] >= 0.99 and found["5th percentile"] >= 0.97
    assert found["time fitting"] < 0.05
