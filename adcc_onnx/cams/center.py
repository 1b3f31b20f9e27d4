"""Center, a control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Evidence, Floats, Method
from adcc_onnx.cams.method_registry import method


@method
@dataclass(frozen=True)
class Center(Method):
    """A Gaussian about the middle of the image, its standard deviation a quarter of the height."""

    name = "center"
    family = "control"
    summary = "the middle of the image, where photographers put things"
    cost = "0"
    needs = frozenset()

    def raw_maps(self, evidence: Evidence) -> Floats:
        count, _, height, width = evidence.images.shape
        rows = np.arange(height) - (height - 1) / 2
        columns = np.arange(width) - (width - 1) / 2
        distance = rows[:, None] ** 2 + columns**2
        gaussian = np.exp(-distance / (2 * (height / 4) ** 2)).astype(np.float32)
        return np.repeat(gaussian[None], count, axis=0)
