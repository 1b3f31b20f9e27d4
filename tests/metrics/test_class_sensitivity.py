"""Class sensitivity: structural similarity by scikit-image, the test itself by Quantus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError
from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
from adcc_onnx.metrics.class_sensitivity import ClassSensitivity, mean_structural_similarity
from adcc_onnx.metrics.metric import ExplainedBatch
from adcc_onnx.metrics.metric_registry import get_metric

Array = np.ndarray
RNG = np.random.default_rng(0)
MAPS = RNG.random((2, 3, 24, 20), np.float32)  # of two classes, for three images


def scored(text: str, maps: Array = MAPS, classes: int = 2) -> Array:
    """The metric of the maps of class 0, where the others are those of the class that it draws."""
    images = np.zeros((maps.shape[1], 1, *maps.shape[2:]), np.float32)
    context = ArrayMetricContext(
        images,
        score=np.sum,
        logits=np.eye(1, classes, dtype=np.float32).repeat(len(images), axis=0),
        class_map_of=lambda chosen: np.stack([maps[c, i] for i, c in enumerate(chosen)]),
    )
    explained = ExplainedBatch(np.ones(len(images)), maps=maps[0], context=context)
    return np.asarray(get_metric(text).score(explained))


def structural(first: Array, second: Array) -> float:
    metrics = pytest.importorskip("skimage.metrics")
    return float(metrics.structural_similarity(first, second, data_range=1.0))


def test_structural_similarity_equals_scikit_image() -> None:
    smooth = np.cumsum(MAPS, axis=3) / 20
    for first, second in ((MAPS[0], MAPS[1]), (smooth[0], smooth[0] ** 2), (MAPS[0], smooth[0])):
        expected = [structural(a, b) for a, b in zip(first, second, strict=True)]
        found = mean_structural_similarity(first, second)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("similarity", ["ssim", "pearson"])
def test_it_equals_random_logit_of_quantus(similarity: str) -> None:
    """With two classes there is one other class, whatever is drawn."""
    quantus = pytest.importorskip("quantus")
    torch = pytest.importorskip("torch")

    def similar(a: Array, b: Array) -> float:
        if similarity == "pearson":
            return float(quantus.correlation_pearson(a, b))
        return structural(a.reshape(MAPS.shape[2:]), b.reshape(MAPS.shape[2:]))

    def explain(model: Any, inputs: Array, targets: Array, **_: Any) -> Array:
        # The images are told apart by their value.
        return np.stack(
            [MAPS[int(c), int(x.flat[0])][None] for x, c in zip(inputs, targets, strict=True)]
        )

    metric = quantus.RandomLogit(
        similar, num_classes=2, normalise=False, disable_warnings=True, display_progressbar=False
    )
    images = np.arange(3, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 24, 20))
    theirs = metric(
        model=torch.nn.Flatten(),
        x_batch=images.astype(np.float32),
        y_batch=np.zeros(3, int),
        a_batch=MAPS[0][:, None],
        explain_func=explain,
    )
    found = scored(f"class_sensitivity(similarity={similarity})")
    np.testing.assert_allclose(1 - found, theirs, atol=1e-6)


def test_the_mean_over_several_classes() -> None:
    """Of 30 drawn classes of three, the explained one never, and the others about equally often."""
    maps = np.stack([MAPS[0], MAPS[0], 1 - MAPS[0]])  # class 1 is equal, class 2 the opposite
    found = scored("class_sensitivity(similarity=pearson, samples=30)", maps, classes=3)
    assert np.all((found > 0.4) & (found < 1.6))
    np.testing.assert_allclose(found * 15, np.round(found * 15), atol=1e-4)


def test_constant_maps() -> None:
    """Two empty maps are equal; an empty one tells nothing about another one."""
    zeros = np.zeros_like(MAPS[0])
    for text in ("class_sensitivity", "class_sensitivity(similarity=pearson)"):
        np.testing.assert_array_equal(scored(text, np.stack([zeros, zeros])), 0)
    found = scored("class_sensitivity(similarity=pearson)", np.stack([zeros, MAPS[1]]))
    np.testing.assert_array_equal(found, 1)


def test_small_maps_have_small_windows() -> None:
    tiny = RNG.random((2, 4, 3), np.float32)
    assert mean_structural_similarity(tiny, tiny) == pytest.approx([1, 1])
    assert mean_structural_similarity(tiny, 1 - tiny).max() < 0.5


def test_it_exposes_maps_that_ignore_the_class() -> None:
    model = adcc.load(classifier_path(), device="cpu")
    methods = ["gradcam", "eigencam", "fakecam", "center", "finercam"]
    found = adcc.evaluate(model, "drawings:12", methods, ["class_sensitivity"], controls=False)
    scores = {name: found.methods[name].scores["class_sensitivity"] for name in methods}
    assert [scores[name] for name in ("eigencam", "fakecam", "center")] == [0, 0, 0]
    assert scores["gradcam"] > 0.3 and scores["finercam"] > 0.3


def test_options_out_of_range() -> None:
    with pytest.raises(OptionError, match="samples must be at least 1"):
        ClassSensitivity(samples=0)
