"""The x axis of the curves that metrics record."""

from __future__ import annotations

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array

# ROAD removes 10 to 90 % of the pixels; the other curves run from none of them to all.
_SPANS = {"road_morf": (0.1, 0.9), "road_lerf": (0.1, 0.9)}


def curve_fractions(name: str, points: int) -> Float64Array:
    """Return the fraction of pixels that were replaced at each point of a curve.

    Args:
        name: Name of the curve, which is the name of its metric.
        points: Number of points.

    Returns:
        Fractions in [0, 1], ascending, [points].

    Example:
        >>> curve_fractions("deletion", 5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
        >>> curve_fractions("road_morf", 3).tolist()
        [0.1, 0.5, 0.9]
    """
    return np.linspace(*_SPANS.get(name, (0.0, 1.0)), points)
