"""CAMs computed from activations A and gradients g, both [N, K, h, w].

The maps are raw: neither normalized nor upsampled. ReLU lets NaN pass, so that a map with invalid
values is not mistaken for an empty one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import as_kernel_array, helper, kernel, require_same_shape
from adcc_onnx.kernels.spatial_means import row_means

# The means of g, g^2 and g^3 over noisy copies of an image, [N, K, h, w] each.
GradientMoments = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

_Float = TypeVar("_Float", np.float32, np.float64)


def weighted_sum(activations: ArrayLike, weights: ArrayLike) -> NDArray[np.float32]:
    """Compute ReLU(sum_k w_k A_k).

    Args:
        activations: Activations A [N, K, h, w].
        weights: Channel weights w [N, K].

    Returns:
        Maps [N, h, w] in float32.

    Raises:
        ValueError: The shapes do not fit each other.

    Example:
        >>> weighted_sum([[[[1, 0]], [[0, 1]]]], [[2, -1]]).tolist()
        [[[2.0, 0.0]]]
    """
    a, w = as_kernel_array(activations, 4), as_kernel_array(weights, 2)
    count, channels, height, width = a.shape
    if w.shape != (count, channels):
        raise ValueError(f"weights {w.shape} do not fit activations {a.shape}")
    maps = np.empty((count, height * width), np.float32)
    _weighted_sum(count, _flat(a), w, maps)
    return maps.reshape(count, height, width)


class GradientFormula(enum.IntEnum):
    """Maps that depend on A and g alone, in the order of the kernel's output."""

    GRADCAM = 0
    GRADCAM_PP = 1
    XGRADCAM = 2
    LAYERCAM = 3
    HIRESCAM = 4
    ELEMENTWISE = 5
    CAM = 6


def gradient_maps(
    activations: ArrayLike, gradients: ArrayLike, formulas: Iterable[GradientFormula]
) -> dict[GradientFormula, NDArray[np.float32]]:
    """Compute the maps of several gradient CAMs in one pass over A and g.

    Each map but the last two is ReLU(sum_k w_k A_k), with S_k = sum_ij A_k and w_k as follows:

    * GRADCAM: mean_ij g_k;
    * GRADCAM_PP: sum_ij alpha ReLU(g_k), alpha = g_k^2 / (2 g_k^2 + S_k g_k^3), 0 where that
      denominator is 0;
    * XGRADCAM: sum_ij g_k A_k / S_k, 0 where S_k is 0;
    * LAYERCAM: ReLU(g_k), one weight per location;
    * HIRESCAM: g_k, one weight per location;
    * ELEMENTWISE is sum_k ReLU(g_k A_k);
    * CAM is sum_k (sum_ij g_k) A_k without ReLU.

    Args:
        activations: Activations A [N, K, h, w].
        gradients: Gradients g [N, K, h, w] of the class score with respect to A.
        formulas: Formulas of the maps to compute.

    Returns:
        Maps [N, h, w] in float32 by formula, in the given order.

    Raises:
        ValueError: The shapes of activations and gradients differ.

    Example:
        >>> activations, gradients = [[[[1, 2]], [[3, 0]]]], [[[[0.5, 0.5]], [[0, -2]]]]
        >>> maps = gradient_maps(activations, gradients, [GradientFormula.GRADCAM])
        >>> maps[GradientFormula.GRADCAM].tolist()
        [[[0.0, 1.0]]]
    """
    a, g = as_kernel_array(activations, 4), as_kernel_array(gradients, 4)
    require_same_shape(a, g)
    count, _, height, width = a.shape
    requested = list(formulas)
    selected = np.zeros(len(GradientFormula), np.bool_)
    selected[requested] = True
    maps = np.empty((len(GradientFormula), count, height * width), np.float32)
    _gradient_maps(count, _flat(a), _flat(g), selected, maps)
    return {formula: maps[formula].reshape(count, height, width) for formula in requested}


def gradcam_weights(gradients: ArrayLike) -> NDArray[np.float32]:
    """Compute Grad-CAM's channel weights mean_ij g.

    Args:
        gradients: Gradients g [N, K, h, w].

    Returns:
        Weights [N, K] in float32.

    Example:
        >>> gradcam_weights([[[[1, 2]], [[0, -2]]]]).tolist()
        [[1.5, -1.0]]
    """
    g = as_kernel_array(gradients, 4)
    count, channels, height, width = g.shape
    means = row_means(g.reshape(count * channels, height * width), False)
    return means.reshape(count, channels).astype(np.float32)


def smoothgradcam_pp_weights(
    activations: ArrayLike, moments: GradientMoments
) -> NDArray[np.float32]:
    """Compute Grad-CAM++'s channel weights from mean powers of noisy gradients.

    The weights are sum_ij alpha ReLU(m_1), alpha = m_2 / (2 m_2 + S m_3), 0 where that denominator
    is 0, with m_p the mean of g^p over the noisy copies and S = sum_ij A.

    Args:
        activations: Activations A [N, K, h, w] of the image without noise.
        moments: Means m_1, m_2 and m_3, [N, K, h, w] each. They are float64, because the third
            power of a gradient easily leaves the range of float32.

    Returns:
        Weights [N, K] in float32.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> activations, gradient = np.ones((1, 1, 1, 2)), np.array([[[[1.0, -1.0]]]])
        >>> moments = (gradient, gradient**2, gradient**3)
        >>> smoothgradcam_pp_weights(activations, moments).tolist()
        [[0.25]]
    """
    a = as_kernel_array(activations, 4)
    for moment in moments:
        require_same_shape(a, moment)
    first, second, third = (
        _flat(np.require(moment, np.float64, ("C", "A", "W"))) for moment in moments
    )
    weights = np.empty(a.shape[:2], np.float32)
    _smoothgradcam_pp_weights(len(a), _flat(a), first, second, third, weights)
    return weights


def _flat(values: NDArray[_Float]) -> NDArray[_Float]:
    """Flatten [N, K, h, w] to [N, K, h w], without a copy."""
    count, channels, height, width = values.shape
    return values.reshape(count, channels, height * width)


@helper
def _add(total: NDArray[np.float64], weight: float, values: NDArray[np.float32]) -> None:
    for p in range(len(total)):
        total[p] += weight * values[p]


@kernel
def _weighted_sum(
    start: int,
    stop: int,
    a: NDArray[np.float32],
    weights: NDArray[np.float32],
    maps: NDArray[np.float32],
) -> None:
    _, channels, size = a.shape
    total = np.empty(size, np.float64)
    for n in range(start, stop):
        total[:] = 0.0
        for k in range(channels):
            _add(total, np.float64(weights[n, k]), a[n, k])
        for p in range(size):
            maps[n, p] = 0.0 if total[p] < 0.0 else total[p]


@kernel
def _gradient_maps(
    start: int,
    stop: int,
    a: NDArray[np.float32],
    g: NDArray[np.float32],
    selected: NDArray[np.bool_],
    maps: NDArray[np.float32],
) -> None:
    _, channels, size = a.shape
    totals = np.empty((len(selected), size), np.float64)
    for n in range(start, stop):
        totals[:] = 0.0
        for k in range(channels):
            activation_sum, gradient_sum, product_sum = 0.0, 0.0, 0.0
            for p in range(size):
                activation, gradient = np.float64(a[n, k, p]), np.float64(g[n, k, p])
                activation_sum += activation
                gradient_sum += gradient
                product_sum += activation * gradient
            if selected[0]:
                _add(totals[0], gradient_sum / size, a[n, k])
            if selected[1]:
                weight = 0.0
                for p in range(size):
                    gradient = np.float64(g[n, k, p])
                    # g^2 / (2 g^2 + S g^3) = 1 / (2 + S g).
                    divisor = 2.0 + activation_sum * gradient
                    share = (0.0 if gradient < 0.0 else gradient) / divisor
                    weight += 0.0 if divisor == 0.0 else share
                _add(totals[1], weight, a[n, k])
            if selected[2]:
                weight = 0.0 if activation_sum == 0.0 else product_sum / activation_sum
                _add(totals[2], weight, a[n, k])
            if selected[3]:
                for p in range(size):
                    gradient = np.float64(g[n, k, p])
                    totals[3, p] += (0.0 if gradient < 0.0 else gradient) * a[n, k, p]
            if selected[4]:
                for p in range(size):
                    totals[4, p] += np.float64(g[n, k, p]) * a[n, k, p]
            if selected[5]:
                for p in range(size):
                    product = np.float64(g[n, k, p]) * a[n, k, p]
                    totals[5, p] += 0.0 if product < 0.0 else product
            if selected[6]:
                _add(totals[6], gradient_sum, a[n, k])
        for m in range(len(selected)):
            for p in range(size):
                # CAM, the last formula, has no ReLU.
                maps[m, n, p] = 0.0 if totals[m, p] < 0.0 and m != 6 else totals[m, p]


@kernel
def _smoothgradcam_pp_weights(
    start: int,
    stop: int,
    a: NDArray[np.float32],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    third: NDArray[np.float64],
    weights: NDArray[np.float32],
) -> None:
    _, channels, size = a.shape
    for n in range(start, stop):
        for k in range(channels):
            activation_sum = 0.0
            for p in range(size):
                activation_sum += np.float64(a[n, k, p])
            weight = 0.0
            for p in range(size):
                denominator = 2.0 * second[n, k, p] + activation_sum * third[n, k, p]
                if denominator != 0.0 and not first[n, k, p] < 0.0:
                    weight += second[n, k, p] / denominator * first[n, k, p]
            weights[n, k] = weight
