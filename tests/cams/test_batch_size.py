"""Maps do not depend on how many images share a batch."""

from __future__ import annotations

import numpy as np
import pytest

import adcc_onnx as adcc
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.drawings import classifier_path
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.run_outputs import run_images


@pytest.mark.parametrize("name", ["opticam(steps=5)", "gradcam++", "smoothgradcam++(n=2)"])
def test_maps_of_a_batch_equal_those_of_single_images(name: str) -> None:
    """To the bit; Opti-CAM would amplify another rounding of the sum over channels."""
    model = adcc.load(classifier_path(), preprocessing="unit", device="cpu")
    method, targets = get_method(name), np.array([0, 1, 2, 3])
    images = np.random.default_rng(0).random((4, 3, *model.size), np.float32)
    together = BatchContext(run_images(model, images, targets, method.needs, range(4)))
    maps = method.raw_maps(together)
    for i in range(4):
        one = slice(i, i + 1)
        alone = BatchContext(run_images(model, images[one], targets[one], method.needs, [i]))
        np.testing.assert_array_equal(method.raw_maps(alone)[0], maps[i])
