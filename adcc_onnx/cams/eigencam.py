"""Eigen-CAM and its class-discriminative form, Eigen-Grad-CAM."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.blas import single_threaded_blas


@method
@dataclass(frozen=True)
class EigenCAM(Method):
    """The projection of A on its first right singular vector, each channel centered over space.

    Places are the rows, channels the columns; the sign is chosen so that the map correlates with
    sum_k A_k. It looks at no class. The paper does not center; the field's implementations do.
    Muhammad and Yeasin, IJCNN 2020, https://arxiv.org/abs/2008.00299.
    """

    name = "eigencam"
    family = "activation"
    summary = "the first principal component of the activations, whatever the class"
    cost = "1"
    needs = frozenset({Need.ACTIVATIONS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        return np.stack([first_component(a) for a in context.activations])


@method
@dataclass(frozen=True)
class EigenGradCAM(Method):
    """Eigen-CAM of g A instead of A.

    Gildenblat et al., pytorch-grad-cam, https://github.com/jacobgil/pytorch-grad-cam.
    """

    name = "eigengradcam"
    family = "gradient"
    summary = "the first principal component of gradient times activation"
    cost = "1 with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        pairs = zip(context.activations, context.gradients, strict=True)
        return np.stack([first_component(a.astype(np.float64) * g) for a, g in pairs])


def first_component(values: NDArray[np.floating]) -> Float32Array:
    """The first principal component of values [K, h, w] over space, [h, w]."""
    channels, height, width = values.shape
    rows = values.reshape(channels, height * width).T.astype(np.float64)
    if not np.isfinite(rows).all():
        return np.full((height, width), np.nan, np.float32)
    centered = rows - rows.mean(axis=0)
    with single_threaded_blas():
        component = _projection(centered)
    return oriented(component, rows.sum(axis=1)).reshape(height, width)


def _projection(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows [p, k] projected on their first right singular vector, [p]."""
    # The eigenvectors of the smaller Gram matrix: of the singular vectors only one is wanted.
    if len(rows) > rows.shape[1]:
        projection: NDArray[np.float64] = rows @ np.linalg.eigh(rows.T @ rows)[1][:, -1]
        return projection
    values, vectors = np.linalg.eigh(rows @ rows.T)
    return vectors[:, -1] * math.sqrt(max(values[-1], 0.0))


def oriented(component: NDArray[np.float64], total: NDArray[np.float64]) -> Float32Array:
    """A component with the sign under which it correlates with the sum of all channels."""
    along = float(np.dot(component, total - total.mean()))
    return (component if along >= 0 else -component).astype(np.float32)
