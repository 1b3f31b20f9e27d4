"""Methods on attention of a quantized transformer, against the transformer before quantization.

Integers of 16 bits change the values so little that the maps must be almost equal. On single
images, rounding moves a value beyond the range of its calibration, where its gradient is 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime import quantization

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import ModelError
from adcc_onnx.images.sources.open_images import open_source
from adcc_onnx.kernels.arrays import Float32Array


class Images(quantization.CalibrationDataReader):
    """Gives the calibration one image after the other."""

    def __init__(self, name: str, images: Float32Array) -> None:
        self._left = iter([{name: image[None]} for image in images])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._left, None)


@pytest.fixture(scope="module")
def images() -> Float32Array:
    model = adcc.load(classifier_path("transformer"), device="cpu")
    records = open_source("drawings:10")
    return np.stack([model.preprocessing(record.load()) for record in records])


@pytest.fixture(scope="module")
def quantized(images: Float32Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quantized") / "net.onnx"
    quantization.quantize_static(
        classifier_path("transformer"),
        out,
        Images("image", images),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt16,
        weight_type=quantization.QuantType.QInt16,
    )
    return out


METHODS = ["rollout", "chefer", "attentioncam", "attcat", "legrad"]


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_those_before_quantization(
    quantized: Path, images: Float32Array, method: str
) -> None:
    path = classifier_path("transformer")
    expected = adcc.explain(path, images, method)
    found = adcc.explain(quantized, images, method, target=expected.targets)
    largest = np.abs(found.maps - expected.maps).max(axis=(1, 2))
    assert np.median(largest) < 0.01, largest


def test_values_are_not_projected_with_the_range_of_their_attended_sums(
    quantized: Path, images: Float32Array
) -> None:
    with pytest.raises(ModelError, match="not found; the method chefer needs only the attention"):
        adcc.explain(quantized, images, "tokentm")
