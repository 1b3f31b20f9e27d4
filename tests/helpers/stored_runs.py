"""Stores of runs made up for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store
from helpers.simulations import adcc_of_means, explained

METRICS = ["average_drop", "average_increase", "coherency", "complexity", "adcc"]
CONFIG = {
    "model": "net",
    "sha256": "abc",
    "preprocessing": None,
    "scores": "logits",
    "protocol": "poppi2021",
    "fill": "zero",
    "layer": "features",
    "target": "predicted",
    "seed": 0,
    "images": "photos",
    "methods": ["gradcam", "fakecam"],
    "metrics": METRICS,
}


def write_run(
    store: Store, values: dict[str, np.ndarray], names: list[str] | None = None, **config: Any
) -> int:
    """A complete run: the values [3, n] of drop, coherency and complexity of each method."""
    run = store.begin({**CONFIG, "methods": list(values), **config})
    count = len(next(iter(values.values()))[0])
    names = names or [f"{i}.png" for i in range(count)]
    images = [ImageRow(i, name, 1, 1, 1, 0.5, None) for i, name in enumerate(names)]
    scores = [
        ScoreRow(i, method, False, None, row(*columns[:, i]), 0.001)
        for method, columns in values.items()
        for i in range(count)
    ]
    store.write(run, images, scores)
    store.finish(run)
    return run


def row(drop: float, coherency: float, complexity: float) -> dict[str, float]:
    adcc = adcc_of_means(np.array([[drop], [coherency], [complexity]]))[0, 0]
    return dict(zip(METRICS, (drop, 0.0, coherency, complexity, float(adcc)), strict=True))


def three_methods(images: int, seed: int = 0) -> dict[str, np.ndarray]:
    """`good`, `alike` (the same but for noise without a direction) and `bad`."""
    rng = np.random.default_rng(seed)
    good = explained(rng, images)
    alike = np.clip(good + rng.normal(0.0, 0.02, good.shape), 0.0, 1.0)
    bad = np.clip(good + np.array([[0.2], [-0.2], [0.1]]), 0.0, 1.0)
    return {"bad": bad, "good": good, "alike": alike}
