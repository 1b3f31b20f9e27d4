"""Calibration: the ranges of activations, from which the scales of 8-bit integers follow."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import ModelError, first_line
from adcc_onnx.graph.autodiff.builder import FLOAT
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.loading.saving import to_proto, with_weights
from adcc_onnx.graph.programs.integer_classifier import Ranges, calibrated_values
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.runtime.session_opening import silence

CALIBRATION_IMAGES = 32


@dataclass(frozen=True, eq=False)
class Calibration:
    """The ranges of a model's activations on some images; equal only to itself.

    Attributes:
        images: The number of images.
        ranges: The smallest and the largest value of each activation, by its name.
    """

    images: int
    ranges: Ranges

    def describe(self) -> dict[str, Any]:
        """Return what identifies the calibration in the record of a run."""
        text = json.dumps({name: list(pair) for name, pair in self.ranges.items()}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"images": self.images, "ranges": digest}

    def record(self) -> dict[str, Any]:
        """Return the ranges as plain data, from which `from_record` makes the calibration."""
        return {"images": self.images, "ranges": {n: list(p) for n, p in self.ranges.items()}}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Calibration:
        """Make a calibration from `record`.

        Args:
            record: The ranges as plain data.
        """
        ranges = {n: (float(low), float(high)) for n, (low, high) in record["ranges"].items()}
        return cls(int(record["images"]), ranges)


def calibrate(classifier: Classifier, images: Float32Array) -> Calibration:
    """Measure the ranges of all activations with onnxruntime's calibration on the CPU.

    Images are run one by one, without graph optimizations, so that the ranges do not depend on
    the run settings.

    Args:
        classifier: The classifier in float32.
        images: Normalized tensors, float32 [N, C, H, W], at least one.

    Raises:
        ModelError: The model cannot be quantized, or does not run.
    """
    from onnxruntime.quantization import CalibrationDataReader, create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Gives one image after the other."""

        def __init__(self) -> None:
            self._left: Iterator[Float32Array] = iter(images)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """Return the next inputs; None after the last ones."""
            image = next(self._left, None)
            return None if image is None else {name: _as_input(image, classifier)}

    silence()
    name = classifier.image.name or ""
    wanted = {value.name for value in calibrated_values(classifier)}
    try:
        with tempfile.TemporaryDirectory(prefix="adcc-onnx-") as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(to_proto(with_weights(classifier.model)).SerializeToString())
            calibrator = create_calibrator(
                path, augmented_model_path=str(Path(folder) / "augmented.onnx")
            )
            calibrator.collect_data(Reader())
            found = calibrator.compute_data()
            del calibrator  # closes the file
    except Exception as error:  # the tools raise all kinds of exceptions
        raise ModelError(
            f"the model cannot be calibrated for int8 ({first_line(error)}); use --precision fp32"
        ) from error
    ranges = {}
    for value, data in found.items():
        low, high = (float(np.min(bound)) for bound in data.range_value)
        if value in wanted and np.isfinite([low, high]).all():
            ranges[value] = (low, high)
    return Calibration(len(images), ranges)


def _as_input(image: Float32Array, classifier: Classifier) -> NDArray[Any]:
    """Return an image, [C, H, W], as the input of the model itself."""
    batch = image[None] if classifier.layout == "NCHW" else image.transpose(1, 2, 0)[None]
    dtype = (classifier.image.dtype or FLOAT).numpy()
    # A model with a fixed batch gets copies of the image.
    rows = classifier.batch if isinstance(classifier.batch, int) else 1
    return np.ascontiguousarray(np.repeat(batch, rows, axis=0).astype(dtype))
