"""From logits to the probability of a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array


def probabilities(
    logits: Float32Array, targets: NDArray[np.int64], kind: str
) -> NDArray[np.float64]:
    """p of each target [N] in float64: softmax of the logits, sigmoid for a multi-label model.

    NaN where any logit is NaN or infinite.
    """
    wide = logits.astype(np.float64)
    chosen = np.arange(len(wide)), targets
    sound = np.asarray(np.isfinite(wide).all(axis=1))
    wide = np.where(sound[:, None], wide, 0.0)
    if kind == "sigmoid":
        p: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-wide[chosen]))
    else:
        powers = np.exp(wide - wide.max(axis=1, keepdims=True))
        p = powers[chosen] / powers.sum(axis=1)
    return np.where(sound, p, np.nan)
