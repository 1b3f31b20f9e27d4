"""Users' metrics: classes, functions, the documented example and entry points."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.documented_code import python_blocks
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx import plugin_registry
from adcc_onnx.errors import OptionError
from adcc_onnx.metrics.metric import ExplainedBatch, Metric, MetricNeed
from adcc_onnx.metrics.metric_registry import (
    METRICS,
    get_metric,
    list_metrics,
    metric,
    metric_names,
)
from adcc_onnx.metrics.scoring import dataset_scores, mean_values, score_all

PLUGIN = """
import adcc_onnx

@adcc_onnx.metric(name="plugged", higher_is_better=True)
def plugged(explained):
    return explained.probability
"""
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture(autouse=True)
def _built_in_only() -> Iterator[None]:
    with METRICS.isolated():
        yield


def test_the_documented_metrics_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peak_width, _, kept, trial = python_blocks("guides/own-metric.md")
    (tmp_path / "documented_metrics.py").write_text("\n".join([peak_width, kept]))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("documented_metrics")
    exec(trial, {})
    onnx.save(small(), tmp_path / "net.onnx")
    model = adcc.load(tmp_path / "net.onnx", layers="active", device="cpu")
    names = ["peak_width", "kept(power=1)", "kept", "average_drop"]
    result = adcc.evaluate(model, IMAGES, ["gradcam"], names)
    assert not result.failures
    scores = result.methods["gradcam"].scores
    assert set(names) <= set(scores)
    assert 0 < scores["peak_width"] <= 1
    assert scores["kept"] <= scores["kept(power=1)"]


def test_a_registered_class_with_options_and_scores_of_its_own() -> None:
    @metric
    @dataclass(frozen=True)
    class Peak(Metric):
        name = "own_peak"
        title = "Peak"
        higher_is_better = True
        needs = frozenset({MetricNeed.TRUTH})
        factor: float = 2.0

        def score(self, explained):
            return self.factor * explained.full_size_maps.max(axis=(1, 2))

        def aggregate(self, means):
            return {"own_peak": means["own_peak"], "own_peak_squared": means["own_peak"] ** 2}

    assert get_metric("own_peak(factor=3)") == Peak(3.0)
    assert metric_names()[-1] == "own_peak" and list_metrics()[-1] is Peak
    metrics = {"own_peak": get_metric("own_peak")}
    batch = ExplainedBatch(np.ones(2), maps=np.full((2, 3, 3), 0.5, np.float32))
    scores = dataset_scores(metrics, mean_values(score_all(metrics, batch)))
    assert {name: float(values[0]) for name, values in scores.items()} == {
        "own_peak": 1.0,
        "own_peak_squared": 1.0,
    }


def test_a_registered_function() -> None:
    @metric(name="mass", higher_is_better=False, needs={MetricNeed.SECOND_MAP}, summary="the sum")
    def mass(explained):
        """The sum of the map."""
        return explained.full_size_maps.sum(axis=(1, 2), dtype=np.float64)

    found = get_metric("mass")
    assert (found.name, found.title, found.summary) == ("mass", "mass", "the sum")
    assert found.needs == {MetricNeed.SECOND_MAP} and not found.higher_is_better
    assert found.value_range == (0.0, 1.0) and found.__doc__ == "The sum of the map."
    batch = ExplainedBatch(np.ones(2), maps=np.full((2, 3, 3), 0.5, np.float32))
    np.testing.assert_array_equal(found.score(batch), mass(batch))
    with pytest.raises(OptionError, match="has no option 'n'"):
        get_metric("mass(n=1)")


def _register_mine(result: float) -> None:
    @metric(name="mine", higher_is_better=True)
    def mine(explained):
        return np.full(1, result)


def test_a_second_definition_replaces_the_first() -> None:
    _register_mine(1.0)
    _register_mine(2.0)
    assert get_metric("mine").score(ExplainedBatch(np.ones(1)))[0] == 2.0


@pytest.mark.parametrize("name", ["adcc", "iou", "mine"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    _register_mine(1.0)
    with pytest.raises(OptionError, match=f"there is a metric '{name}' already"):

        @metric(name=name, higher_is_better=True)
        def other(explained):
            return explained


@pytest.mark.parametrize("name", ["", "two words", "f(x)", "a=b", "a,b"])
def test_a_name_that_cannot_be_requested_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="cannot name a metric"):

        @metric(name=name, higher_is_better=True)
        def other(explained):
            return explained


def test_what_is_not_a_metric_is_refused() -> None:
    with pytest.raises(TypeError, match="'plain' is not a subclass of Metric"):

        @metric
        def plain(explained):
            return explained

    with pytest.raises(OptionError, match="Bare must define title and higher_is_better"):

        @metric
        class Bare(Metric):
            name = "bare"

            def score(self, explained):
                return explained

    with pytest.raises(TypeError, match="a metric is given by name, not by NoneType"):
        get_metric(None)


def test_entry_points_are_found_and_a_broken_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good_metric_plugin.py").write_text(PLUGIN)
    (tmp_path / "bad_metric_plugin.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint(n, f"{n}_metric_plugin", "adcc_onnx.metrics") for n in ("good", "bad")]
    found = {"adcc_onnx.metrics": points}
    monkeypatch.setattr(plugin_registry, "entry_points", lambda group: found[group])
    assert get_metric("plugged").name == "plugged"
    assert "plugged" in metric_names()
    with pytest.raises(OptionError, match="the plug-in 'bad' cannot be loaded"):
        get_metric("unheard-of")
