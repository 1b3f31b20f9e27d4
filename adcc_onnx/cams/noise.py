"""The options of methods that average over noisy copies."""

from __future__ import annotations

import math

from adcc_onnx.errors import OptionError


def check_noise(name: str, n: int, sigma: float) -> None:
    """Raise OptionError unless there is at least one copy, and sigma is at least 0 and finite."""
    if n < 1:
        raise OptionError(f"{name}: n must be at least 1, not {n}")
    if not (sigma >= 0 and math.isfinite(sigma)):
        raise OptionError(f"{name}: sigma must be at least 0, not {sigma}")
