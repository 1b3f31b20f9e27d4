"""From activations A and gradients g, [N, K, h, w] each, to channel weights and raw maps.

ReLU is written so that NaN passes through it: a broken map must not look like an empty one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import as_kernel_array, helper, kernel, require_same_shape
from adcc_onnx.kernels.spatial_means import row_means

GradientMoments = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

_Float = TypeVar("_Float", np.float32, np.float64)


def weighted_sum(activations: ArrayLike, weights: ArrayLike) -> NDArray[np.float32]:
    """ReLU(sum_k w_k A_k).

    Args:
        activations: [N, K, h, w].
        weights: [N, K].

    Returns:
        [N, h, w] float32.
    """
    a, w = as_kernel_array(activations, 4), as_kernel_array(weights, 2)
    count, channels, height, width = a.shape
    if w.shape != (count, channels):
        raise ValueError(f"weights {w.shape} do not fit activations {a.shape}")
    maps = np.empty((count, height * width), np.float32)
    _weighted_sum(count, _flat(a), w, maps)
    return maps.reshape(count, height, width)


class GradientFormula(enum.IntEnum):
    """Maps that are made of A and g alone, in the order in which the kernel holds them."""

    GRADCAM = 0
    GRADCAM_PP = 1
    XGRADCAM = 2
    LAYERCAM = 3
    HIRESCAM = 4


def gradient_maps(
    activations: ArrayLike, gradients: ArrayLike, wanted: Iterable[GradientFormula]
) -> dict[GradientFormula, NDArray[np.float32]]:
    """Several raw maps from one read of A and g.

    Each is ReLU(sum_k w_k A_k), with S_k = sum_ij A_k and w_k as follows:

    * GRADCAM: mean_ij g_k;
    * GRADCAM_PP: sum_ij alpha ReLU(g_k), alpha = g_k^2 / (2 g_k^2 + S_k g_k^3), 0 where that
      denominator is 0;
    * XGRADCAM: sum_ij g_k A_k / S_k, 0 where S_k is 0;
    * LAYERCAM: ReLU(g_k), location by location;
    * HIRESCAM: g_k, location by location.

    Args:
        activations, gradients: [N, K, h, w] each.
        wanted: which maps.

    Returns:
        [N, h, w] float32 of each that is wanted.
    """
    a, g = as_kernel_array(activations, 4), as_kernel_array(gradients, 4)
    require_same_shape(a, g)
    count, _, height, width = a.shape
    chosen = list(wanted)
    asked = np.zeros(len(GradientFormula), np.bool_)
    asked[chosen] = True
    maps = np.empty((len(GradientFormula), count, height * width), np.float32)
    _gradient_maps(count, _flat(a), _flat(g), asked, maps)
    return {one: maps[one].reshape(count, height, width) for one in chosen}


def gradcam_weights(gradients: ArrayLike) -> NDArray[np.float32]:
    """Grad-CAM's weights, mean_ij g: [N, K]."""
    g = as_kernel_array(gradients, 4)
    count, channels, height, width = g.shape
    means = row_means(g.reshape(count * channels, height * width), False)
    return means.reshape(count, channels).astype(np.float32)


def smoothgradcam_pp_weights(
    activations: ArrayLike, averages: GradientMoments
) -> NDArray[np.float32]:
    """Grad-CAM++'s weights where `averages` stand for g, g^2 and g^3: [N, K].

    The averages are float64, [N, K, h, w] each: a third power leaves float32's range early.
    """
    a = as_kernel_array(activations, 4)
    for average in averages:
        require_same_shape(a, average)
    first, second, third = (
        _flat(np.require(average, np.float64, ("C", "A", "W"))) for average in averages
    )
    weights = np.empty(a.shape[:2], np.float32)
    _smoothgradcam_pp_weights(len(a), _flat(a), first, second, third, weights)
    return weights


def _flat(values: NDArray[_Float]) -> NDArray[_Float]:
    """[N, K, h, w] as [N, K, h w], without a copy."""
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
    wanted: NDArray[np.bool_],
    maps: NDArray[np.float32],
) -> None:
    _, channels, size = a.shape
    totals = np.empty((len(wanted), size), np.float64)
    for n in range(start, stop):
        totals[:] = 0.0
        for k in range(channels):
            mass, slopes, product = 0.0, 0.0, 0.0
            for p in range(size):
                value, slope = np.float64(a[n, k, p]), np.float64(g[n, k, p])
                mass += value
                slopes += slope
                product += value * slope
            if wanted[0]:
                _add(totals[0], slopes / size, a[n, k])
            if wanted[1]:
                weight = 0.0
                for p in range(size):
                    slope = np.float64(g[n, k, p])
                    # g^2 / (2 g^2 + S g^3) = 1 / (2 + S g).
                    divisor = 2.0 + mass * slope
                    share = (0.0 if slope < 0.0 else slope) / divisor
                    weight += 0.0 if divisor == 0.0 else share
                _add(totals[1], weight, a[n, k])
            if wanted[2]:
                _add(totals[2], 0.0 if mass == 0.0 else product / mass, a[n, k])
            if wanted[3]:
                for p in range(size):
                    slope = np.float64(g[n, k, p])
                    totals[3, p] += (0.0 if slope < 0.0 else slope) * a[n, k, p]
            if wanted[4]:
                for p in range(size):
                    totals[4, p] += np.float64(g[n, k, p]) * a[n, k, p]
        for m in range(len(wanted)):
            for p in range(size):
                maps[m, n, p] = 0.0 if totals[m, p] < 0.0 else totals[m, p]


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
            mass = 0.0
            for p in range(size):
                mass += np.float64(a[n, k, p])
            weight = 0.0
            for p in range(size):
                denominator = 2.0 * second[n, k, p] + mass * third[n, k, p]
                if denominator != 0.0 and not first[n, k, p] < 0.0:
                    weight += second[n, k, p] / denominator * first[n, k, p]
            weights[n, k] = weight
