"""From logits to the probability of a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array


def probabilities(
    logits: Float32Array, targets: NDArray[np.int64], kind: str
) -> NDArray[np.float64]:
    """Compute the probability of each target class in float64.

    Args:
        logits: The class scores, [N, classes].
        targets: The target classes, [N].
        kind: "sigmoid" for a multi-label model; the softmax is used for any other kind.

    Returns:
        The probabilities, float64 [N]; NaN where any logit of the image is NaN or infinite.

    Example:
        >>> probabilities(np.zeros((1, 4), np.float32), np.array([2]), "logits").tolist()
        [0.25]
    """
    wide = logits.astype(np.float64)
    chosen = np.arange(len(wide)), targets
    finite = np.asarray(np.isfinite(wide).all(axis=1))
    wide = np.where(finite[:, None], wide, 0.0)
    if kind == "sigmoid":
        p: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-wide[chosen]))
    else:
        powers = np.exp(wide - wide.max(axis=1, keepdims=True))
        p = powers[chosen] / powers.sum(axis=1)
    return np.where(finite, p, np.nan)


def all_probabilities(logits: Float32Array, kind: str) -> NDArray[np.float64]:
    """Compute the probabilities of all classes in float64.

    Args:
        logits: The class scores, [N, classes].
        kind: As for `probabilities`.

    Returns:
        The probabilities, float64 [N, classes]; NaN where any logit of the image is NaN or
        infinite.

    Example:
        >>> all_probabilities(np.zeros((1, 4), np.float32), "logits").tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    from scipy.special import expit, softmax

    wide = logits.astype(np.float64)
    finite = np.isfinite(wide).all(axis=1, keepdims=True)
    wide = np.where(finite, wide, 0.0)
    p = expit(wide) if kind == "sigmoid" else softmax(wide, axis=1)
    return np.where(finite, p, np.nan)
