"""Fake-CAM explains nothing: by ADCC it is last on every model."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.selected import slow_except
from helpers.shared_models import PRESETS, shared_model

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path

METHODS = ["fakecam", "gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "eigencam"]


def last_by_adcc(found: dict) -> str:
    return min(found, key=lambda name: found[name].scores["adcc"])


@pytest.mark.parametrize("name", slow_except(["mobilenet_v2", "SqueezeNet_fp16"], PRESETS))
def test_on_real_models(data: Path, name: str) -> None:
    model = shared_model(data, name)
    photos = sorted((data / "photos").iterdir())[::25]
    found = adcc.evaluate(model, photos, METHODS, ["adcc"]).methods
    assert last_by_adcc(found) == "fakecam"
    assert found["fakecam"].scores["adcc"] == pytest.approx(6e-5, rel=0.01)


def test_on_drawings() -> None:
    model = adcc.load(classifier_path(), device="cpu")
    found = adcc.evaluate(model, "drawings:40", METHODS, ["adcc"]).methods
    assert last_by_adcc(found) == "fakecam"
