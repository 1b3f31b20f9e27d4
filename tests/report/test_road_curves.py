"""The x axis of ROAD curves: they span 10 to 90 % of the pixels, and other curves 0 to 100 %."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from helpers.stored_runs import CONFIG

from adcc_onnx.metrics.metric import ExplainedBatch
from adcc_onnx.metrics.metric_registry import get_metric
from adcc_onnx.report.rendering import render
from adcc_onnx.results.curve_fractions import curve_fractions
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

SIDE = 20


class RemovalCounter:
    """A metric context whose score of an image is the share of pixels that were changed in it."""

    def __init__(self) -> None:
        self.images = np.random.default_rng(0).random((1, 3, SIDE, SIDE)).astype(np.float32)
        self.curves: list[np.ndarray] = []

    def scores(self, image: int, others: np.ndarray) -> np.ndarray:
        return (others != self.images[image]).any(axis=1).mean(axis=(1, 2)).astype(np.float64)

    def rngs(self) -> list[np.random.Generator]:
        return [np.random.default_rng(1)]

    def keep(self, image: int, curve: np.ndarray) -> None:
        self.curves.append(curve)


def removed_fractions(metric: str) -> np.ndarray:
    """The share of pixels that a ROAD metric really removes at each point of its curve."""
    context = RemovalCounter()
    maps = np.random.default_rng(2).random((1, SIDE, SIDE)).astype(np.float32)
    get_metric(metric).score(ExplainedBatch(np.ones(1), maps=maps, context=context))
    return context.curves[0]


def chart_of(name: str, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """The fractions and values of the curve in HTML, and its values in JSON."""
    with Store.create(None) as store:
        run = store.begin({**CONFIG, "methods": ["gradcam"], "metrics": [name]})
        row = ScoreRow(0, "gradcam", False, None, {name: 0.5}, 0.1, {name: curve})
        store.write(run, [ImageRow(0, "0.png", None, 1, 1, 0.5, None)], [row])
        page = render([store], "html")
        json_curves = json.loads(render([store], "json"))["runs"][0]["methods"]["gradcam"]["curves"]
    (data,) = re.findall(r'<script type="application/json" class="run-data">(.*?)</script>', page)
    drawn = json.loads(data)["curves"][name]
    return np.array(drawn["x"]), np.array(drawn["methods"]["gradcam"]["mean"]), json_curves[name]


@pytest.mark.parametrize("metric", ["road_morf", "road_lerf"])
def test_road_curves_are_drawn_over_the_pixels_that_were_removed(metric: str) -> None:
    removed = removed_fractions(metric)
    np.testing.assert_allclose(removed, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], atol=1e-12)
    np.testing.assert_allclose(curve_fractions(metric, 9), removed, atol=1e-12)
    fractions, values, in_json = chart_of(metric, removed)
    # Such a curve must lie on the diagonal of the chart.
    np.testing.assert_allclose(fractions, removed, atol=2e-4)
    np.testing.assert_allclose(values, fractions, atol=5e-4)
    np.testing.assert_allclose(in_json, removed, atol=1e-7)


def test_other_curves_are_drawn_over_all_pixels() -> None:
    fractions, _, in_json = chart_of("deletion", np.array([1.0, 0.5, 0.25]))
    np.testing.assert_allclose(fractions, [0.0, 0.5, 1.0], atol=2e-4)
    assert in_json == [1.0, 0.5, 0.25]
