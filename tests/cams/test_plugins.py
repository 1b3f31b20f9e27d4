"""Other packages' methods: the documented example, entry points, and a plug-in that is broken."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cams import method_registry as registry
from adcc_onnx.errors import OptionError

DOCS = Path(__file__).parents[2] / "docs" / "methods.md"
PLUGIN = """
import adcc_onnx

@adcc_onnx.method(name="plugged", needs=set())
def plugged(evidence):
    return evidence.images[:, 0]
"""
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def clean() -> Iterator[None]:
    """The registry as it was, afterwards."""
    registry.list_methods()  # the built-in ones register once, when first imported
    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)
    registry._load_plugins.cache_clear()


def test_the_documented_methods_work(
    clean: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "documented.py").write_text("\n".join(blocks))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("documented")
    onnx.save(small(), tmp_path / "net.onnx")
    model = adcc.load(tmp_path / "net.onnx", layer="active", device="cpu")
    result = adcc.evaluate(model, IMAGES, ["activity", "powercam(power=1)", "gradcam"])
    assert not result.failures
    assert result.methods["powercam(power=1)"].scores == pytest.approx(
        result.methods["gradcam"].scores, abs=1e-6
    )
    maps = adcc.explain(model, IMAGES, "activity")
    assert maps.shape == (2, 8, 8) and maps.max() == 1


def test_entry_points_are_found_and_a_broken_one_is_named(
    clean: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good_plugin.py").write_text(PLUGIN)
    (tmp_path / "bad_plugin.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint(n, f"{n}_plugin", registry.PLUGINS) for n in ("good", "bad")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    registry._load_plugins.cache_clear()
    assert registry.get_method("plugged").name == "plugged"
    assert "plugged" in registry.method_names()
    with pytest.raises(OptionError, match="the plug-in 'bad' cannot be loaded"):
        registry.get_method("unheard-of")
