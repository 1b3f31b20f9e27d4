"""A new CAM method, compared with Grad-CAM.

    python examples/own_method.py

The method weights each channel by how much its gradient varies over the image. adcc-onnx runs the
model, normalizes, upsamples and scores the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path


@adcc.method
@dataclass(frozen=True)
class VarianceCAM(adcc.Method):
    """Channels weighted by the standard deviation of their gradient, raised to a power."""

    name = "variancecam"
    family = "custom"
    summary = "Channels weighted by the standard deviation of their gradient."
    needs = frozenset({adcc.Need.ACTIVATIONS, adcc.Need.GRADIENTS})

    power: float = 1.0

    def raw_maps(self, context: adcc.MethodContext) -> Any:
        """Return one map per image, [N, h, w]."""
        a, g = context.activations, context.gradients  # [N, K, h, w]
        weights = (g * a).std(axis=(2, 3), keepdims=True) ** self.power
        return (weights * a).sum(axis=1).clip(min=0)


def main() -> None:
    """Print the ranking of the method with two options, Grad-CAM and the controls."""
    methods = ["gradcam", "variancecam", "variancecam(power=2)"]
    print(adcc.evaluate(classifier_path(), "drawings:16", methods))


if __name__ == "__main__":
    main()
