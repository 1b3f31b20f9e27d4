"""Calibration: the statistics of activations, from which scales and biases of int8 follow."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.programs.activation_statistics import build_activation_statistics
from adcc_onnx.graph.programs.integer_classifier import (
    Means,
    Ranges,
    averaged_values,
    calibrated_values,
)
from adcc_onnx.graph.programs.tensor_names import CHANNEL_MEANS, IMAGE, MAXIMA, MINIMA
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.runtime.device_errors import device_errors
from adcc_onnx.runtime.devices import choose_device
from adcc_onnx.runtime.session_opening import open_session

CALIBRATION_IMAGES = 32
# The part of the images whose activations are inside of each end of a range. The steps of all
# images would be coarse if one image with extreme activations set them.
_COVERED = 0.9


@dataclass(frozen=True, eq=False)
class Calibration:
    """Statistics of a model's activations on some images; equal only to itself.

    Attributes:
        images: The number of images.
        ranges: The lower and the upper end of each activation, by its name.
        means: The mean of each channel of the inputs of convolutions, by their names.
    """

    images: int
    ranges: Ranges
    means: Means = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the calibration in the record of a run."""
        text = json.dumps(self.record(), sort_keys=True)
        return {"images": self.images, "digest": hashlib.sha256(text.encode()).hexdigest()}

    def record(self) -> dict[str, Any]:
        """Return plain data, from which `from_record` makes the calibration."""
        return {
            "images": self.images,
            "ranges": {name: list(pair) for name, pair in self.ranges.items()},
            "means": {
                name: base64.b64encode(part.astype("<f4").tobytes()).decode()
                for name, part in self.means.items()
            },
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Calibration:
        """Make a calibration from `record`.

        Args:
            record: The plain data.

        Raises:
            ValueError: The data are damaged.
        """
        ranges = {n: (float(low), float(high)) for n, (low, high) in record["ranges"].items()}
        means = {
            name: np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
            for name, text in record["means"].items()
        }
        return cls(int(record["images"]), ranges, means)


def calibrate(
    classifier: Classifier, images: Float32Array, custom_ops: tuple[str, ...] = ()
) -> Calibration:
    """Measure the statistics of activations on the CPU.

    Images are run one by one, so that the result does not depend on the run settings.

    Args:
        classifier: The classifier in float32.
        images: Normalized tensors, float32 [N, C, H, W], at least one.
        custom_ops: The paths of libraries with custom operators.

    Raises:
        ModelError: The model does not run.
    """
    minima, maxima, means = _statistics(classifier, images, custom_ops)
    low, high = np.quantile(minima, 1 - _COVERED, axis=0), np.quantile(maxima, _COVERED, axis=0)
    ranges = {
        str(value.name): (float(one), float(other))
        for value, one, other in zip(calibrated_values(classifier), low, high, strict=True)
        if np.isfinite([one, other]).all()
    }
    averaged = averaged_values(classifier)
    joined = means.mean(axis=0, dtype=np.float64).astype(np.float32)
    parts = np.split(joined, np.cumsum(list(averaged.values()))[:-1])
    of_values = {
        str(value.name): part
        for value, part in zip(averaged, parts, strict=False)
        if np.isfinite(part).all()
    }
    return Calibration(len(images), ranges, of_values)


def _statistics(
    classifier: Classifier, images: Float32Array, custom_ops: tuple[str, ...]
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Return the minima and maxima, [N, V], and the means of channels, [N, K], of each image."""
    device = replace(choose_device("cpu"), custom_ops=custom_ops)
    session = open_session(build_activation_statistics(classifier), device).session
    # A model with a fixed batch gets copies of the image.
    rows = classifier.batch if isinstance(classifier.batch, int) else 1
    names = [MINIMA, MAXIMA, CHANNEL_MEANS]
    with device_errors("the model cannot be calibrated for int8, so use --precision fp32"):
        found = [session.run(names, {IMAGE: image[None].repeat(rows, axis=0)}) for image in images]
    minima, maxima, means = (np.stack(parts) for parts in zip(*found, strict=True))
    return minima, maxima, means
