"""Stores with runs whose values are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
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
    store: Store, values: dict[str, Float64Array], names: list[str] | None = None, **config: Any
) -> int:
    """Write a complete run.

    Args:
        store: Store to write to.
        values: Average drop, coherency and complexity of each method, [3, n].
        names: Names of the images.
        config: Settings that differ from `CONFIG`.

    Returns:
        Number of the run.
    """
    run = store.begin({**CONFIG, "methods": list(values), **config})
    count = len(next(iter(values.values()))[0])
    names = names or [f"{i}.png" for i in range(count)]
    images = [ImageRow(i, name, 1, 1, 1, 0.5, None) for i, name in enumerate(names)]
    scores = [
        ScoreRow(i, method, False, None, metric_values(*columns[:, i]), 0.001)
        for method, columns in values.items()
        for i in range(count)
    ]
    store.write(run, images, scores)
    store.finish(run)
    return run


def metric_values(drop: float, coherency: float, complexity: float) -> dict[str, float]:
    """Return the values of all `METRICS` for one image."""
    adcc = adcc_of_means(np.array([[drop], [coherency], [complexity]]))[0, 0]
    return dict(zip(METRICS, (drop, 0.0, coherency, complexity, float(adcc)), strict=True))


def three_methods(images: int, seed: int = 0) -> dict[str, Float64Array]:
    """Return values of `good`, `alike` (equal to it except for unbiased noise) and `bad`."""
    rng = np.random.default_rng(seed)
    good = explained(rng, images)
    alike = np.clip(good + rng.normal(0.0, 0.02, good.shape), 0.0, 1.0)
    bad = np.clip(good + np.array([[0.2], [-0.2], [0.1]]), 0.0, 1.0)
    return {"bad": bad, "good": good, "alike": alike}


def per_image_run(image: str = "=a.png", seconds: float = 0.5, **config: Any) -> Store:
    """Return a store with an unfinished run of three images, the last of which failed.

    Args:
        image: Name of the first image, on which `fakecam` fails.
        seconds: Time of each score.
        config: Settings that differ from `CONFIG`.

    Returns:
        An open store in memory.
    """
    store = Store.create(None)
    run = store.begin({**CONFIG, "metrics": ["average_drop", "coherency"], **config})
    images = [
        ImageRow(0, image, 1, 1, 2, 0.75, None),
        ImageRow(1, "b.png", None, 3, 3, 0.5, None),
        ImageRow(2, "c.png", 4, None, None, None, "cut short"),
    ]
    both = {"average_drop": 0.25, "coherency": 0.5}
    scores = [
        ScoreRow(0, "gradcam", True, None, both, seconds),
        ScoreRow(0, "fakecam", False, "the map holds NaN", {}, seconds),
        ScoreRow(1, "gradcam", False, None, {"average_drop": 0.125}, seconds),
    ]
    store.write(run, images, scores)
    return store
