"""Long proofs on mobilenet_v2: Opti-CAM raises the score, RISE converges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adcc_onnx.cams.optimized_cams import _START, OptiCAM
from adcc_onnx.cams.random_masks import RISE
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.explanation.samples import tensor_of
from adcc_onnx.images.sources.open_images import open_paths
from adcc_onnx.model import Model

Array = np.ndarray


def tensors(model: Model, photos: list[Path]) -> Array:
    return np.stack([tensor_of(record, False, model) for record in open_paths(photos)])


@pytest.mark.slow
def test_opticam_raises_the_score(model: Model, data: Path) -> None:
    """Of the predicted class, from where it starts, on at least 95 % of the photos."""
    photos = sorted((data / "photos").iterdir())
    method, gains = OptiCAM(), []
    for start in range(0, len(photos), model.batch):
        images = tensors(model, photos[start : start + model.batch])
        outputs = run_images(model, images, None, method.needs, range(len(images)))
        seen = BatchContext(outputs)
        rows = np.arange(len(images))
        first = np.full(seen.activations.shape[:2], _START, np.float32)
        before, after = (
            seen.share_gradients(shares)[0][rows, seen.targets]
            for shares in (first, method.optimized(seen))
        )
        gains.extend(after - before)
    print(f"raised on {np.mean(np.array(gains) > 0):.2f}, by {np.median(gains):.2f} in the median")
    assert len(gains) == 100
    assert np.mean(np.array(gains) > 0) >= 0.95


@pytest.mark.slow
def test_rise_converges(model: Model, data: Path) -> None:
    """The map after 4,000 masks is nearly that after 10,000, on each of three photos.

    4,000 masks of their own agree less with it: neither map knows the other's noise. What they
    share is printed.
    """
    photos = sorted((data / "photos").iterdir())
    agreements = []
    for number in (20, 50, 80):
        images = tensors(model, photos[number : number + 1])
        among, others, rest = (
            _rise(model, images, masks, key) for key, masks in enumerate((4_000, 4_000, 6_000))
        )
        # A map is a mean over masks, pixel by pixel weighted by what they cover.
        many = sum(of * cover for of, cover in (among, rest)) / (among[1] + rest[1])
        agreements.append([np.corrcoef(many, few)[0, 1] for few, _ in (among, others)])
        print("4,000 of the 10,000: {:.4f}, 4,000 others: {:.4f}".format(*agreements[-1]))
    assert np.min(agreements, axis=0)[0] > 0.95


def _rise(model: Model, images: Array, masks: int, key: int) -> tuple[Array, Array]:
    """The map, and how often each pixel was covered."""
    method = RISE(masks=masks)
    seen = BatchContext(run_images(model, images, None, method.needs, [key]))
    drawn = method.drawn(seen.rngs()[0], *images.shape[2:])
    coverage = sum(part.sum(axis=0, dtype=np.float64) for part in drawn)
    return method.raw_maps(seen)[0].ravel(), coverage.ravel()
