"""Other packages' methods: the documented example, entry points, and a plug-in that is broken."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.documented_code import python_blocks
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx import plugin_registry
from adcc_onnx.cams.array_context import ArrayContext
from adcc_onnx.cams.method_registry import METHODS, get_method, method_names
from adcc_onnx.errors import OptionError

PLUGIN = """
import adcc_onnx

@adcc_onnx.method(name="plugged", needs=set())
def plugged(context):
    return context.images[:, 0]
"""
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture(autouse=True)
def _built_in_only() -> Iterator[None]:
    with METHODS.isolated():
        yield


def test_the_documented_methods_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    activity, _, powercam, trial = python_blocks("guides/own-method.md")
    (tmp_path / "documented_methods.py").write_text("\n".join([activity, powercam]))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("documented_methods")
    exec(trial, {})
    onnx.save(small(), tmp_path / "net.onnx")
    model = adcc.load(tmp_path / "net.onnx", layers="active", device="cpu")
    result = adcc.evaluate(model, IMAGES, ["activity", "powercam(power=1)", "gradcam"])
    assert not result.failures
    assert result.methods["powercam(power=1)"].scores == pytest.approx(
        result.methods["gradcam"].scores, abs=1e-6
    )
    maps = adcc.explain(model, IMAGES, "activity").maps
    assert maps.shape == (2, 8, 8) and maps.max() == 1


def test_entry_points_are_found_and_a_broken_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good_plugin.py").write_text(PLUGIN)
    (tmp_path / "bad_plugin.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint(n, f"{n}_plugin", "adcc_onnx.cams") for n in ("good", "bad")]
    found = {"adcc_onnx.cams": points}
    monkeypatch.setattr(plugin_registry, "entry_points", lambda group: found[group])
    assert get_method("plugged").name == "plugged"
    assert "plugged" in method_names()
    with pytest.raises(OptionError, match="the plug-in 'bad' cannot be loaded"):
        get_method("unheard-of")


def test_a_context_of_arrays_says_what_it_was_not_given() -> None:
    context = ArrayContext(IMAGES, IMAGES)
    with pytest.raises(ValueError, match="that ArrayContext was not given"):
        get_method("scorecam").raw_maps(context)
