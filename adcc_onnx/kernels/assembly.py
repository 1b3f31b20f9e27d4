"""From activations A and gradients g, [N, K, h, w] each, to channel weights and raw maps.

ReLU is written so that NaN passes through it: a broken map must not look like an empty one.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import kernel, prepared, require_same_shape
from adcc_onnx.kernels.reduction import row_means

Averages = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

_Float = TypeVar("_Float", np.float32, np.float64)


def weighted_sum(activations: ArrayLike, weights: ArrayLike) -> NDArray[np.float32]:
    """ReLU(sum_k w_k A_k).

    Args:
        activations: [N, K, h, w].
        weights: [N, K].

    Returns:
        [N, h, w] float32.
    """
    a, w = prepared(activations, 4), prepared(weights, 2)
    count, channels, height, width = a.shape
    if w.shape != (count, channels):
        raise ValueError(f"weights {w.shape} do not fit activations {a.shape}")
    maps = np.empty((count, height * width), np.float32)
    _weighted_sum(count, _flat(a), w, maps)
    return maps.reshape(count, height, width)


def location_weighted_sum(
    activations: ArrayLike, gradients: ArrayLike, positive_only: bool
) -> NDArray[np.float32]:
    """ReLU(sum_k g_k A_k), location by location; with `positive_only`, ReLU(g_k) for g_k.

    Args:
        activations, gradients: [N, K, h, w] each.

    Returns:
        [N, h, w] float32.
    """
    a, g = _pair(activations, gradients)
    count, _, height, width = a.shape
    maps = np.empty((count, height * width), np.float32)
    _location_weighted_sum(count, _flat(a), _flat(g), positive_only, maps)
    return maps.reshape(count, height, width)


def gradient_means(gradients: ArrayLike) -> NDArray[np.float32]:
    """Grad-CAM's weights, mean_ij g: [N, K]."""
    g = prepared(gradients, 4)
    count, channels, height, width = g.shape
    means = row_means(g.reshape(count * channels, height * width), False)
    return means.reshape(count, channels).astype(np.float32)


def xgradcam_weights(activations: ArrayLike, gradients: ArrayLike) -> NDArray[np.float32]:
    """XGrad-CAM's weights, sum_ij g A / sum_ij A, 0 where the divisor is 0: [N, K]."""
    a, g = _pair(activations, gradients)
    weights = np.empty(a.shape[:2], np.float32)
    _xgradcam_weights(len(a), _flat(a), _flat(g), weights)
    return weights


def gradcam_pp_weights(activations: ArrayLike, gradients: ArrayLike) -> NDArray[np.float32]:
    """Grad-CAM++'s weights, sum_ij alpha ReLU(g): [N, K].

    alpha = g^2 / (2 g^2 + S g^3) with S = sum_ij A, and 0 where the denominator is 0.
    """
    a, g = _pair(activations, gradients)
    flat, weights = _flat(g), np.empty(a.shape[:2], np.float32)
    _gradcam_pp_weights(len(a), _flat(a), flat, flat, flat, False, weights)
    return weights


def averaged_gradcam_pp_weights(activations: ArrayLike, averages: Averages) -> NDArray[np.float32]:
    """Grad-CAM++'s weights where `averages` stand for g, g^2 and g^3: [N, K].

    The averages are float64, [N, K, h, w] each: a third power leaves float32's range early.
    """
    a = prepared(activations, 4)
    for average in averages:
        require_same_shape(a, average)
    first, second, third = (
        _flat(np.require(average, np.float64, ("C", "A", "W"))) for average in averages
    )
    weights = np.empty(a.shape[:2], np.float32)
    _gradcam_pp_weights(len(a), _flat(a), first, second, third, True, weights)
    return weights


def _pair(
    activations: ArrayLike, gradients: ArrayLike
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    a, g = prepared(activations, 4), prepared(gradients, 4)
    require_same_shape(a, g)
    return a, g


def _flat(values: NDArray[_Float]) -> NDArray[_Float]:
    """[N, K, h, w] as [N, K, h w], without a copy."""
    count, channels, height, width = values.shape
    return values.reshape(count, channels, height * width)


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
            weight = np.float64(weights[n, k])
            for p in range(size):
                total[p] += weight * a[n, k, p]
        for p in range(size):
            maps[n, p] = 0.0 if total[p] < 0.0 else total[p]


@kernel
def _location_weighted_sum(
    start: int,
    stop: int,
    a: NDArray[np.float32],
    g: NDArray[np.float32],
    positive_only: bool,
    maps: NDArray[np.float32],
) -> None:
    _, channels, size = a.shape
    total = np.empty(size, np.float64)
    for n in range(start, stop):
        total[:] = 0.0
        for k in range(channels):
            for p in range(size):
                slope = np.float64(g[n, k, p])
                if positive_only and slope < 0.0:
                    slope = np.float64(0.0)
                total[p] += slope * a[n, k, p]
        for p in range(size):
            maps[n, p] = 0.0 if total[p] < 0.0 else total[p]


@kernel
def _xgradcam_weights(
    start: int,
    stop: int,
    a: NDArray[np.float32],
    g: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> None:
    _, channels, size = a.shape
    for n in range(start, stop):
        for k in range(channels):
            product, mass = 0.0, 0.0
            for p in range(size):
                value = np.float64(a[n, k, p])
                product += value * g[n, k, p]
                mass += value
            weights[n, k] = 0.0 if mass == 0.0 else product / mass


@kernel
def _gradcam_pp_weights(
    start: int,
    stop: int,
    a: NDArray[np.float32],
    first: NDArray[_Float],
    second: NDArray[_Float],
    third: NDArray[_Float],
    averaged: bool,
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
                g = np.float64(first[n, k, p])
                square = np.float64(second[n, k, p]) if averaged else g * g
                cube = np.float64(third[n, k, p]) if averaged else g * g * g
                denominator = 2.0 * square + mass * cube
                if denominator != 0.0 and not g < 0.0:
                    weight += square / denominator * g
            weights[n, k] = weight
