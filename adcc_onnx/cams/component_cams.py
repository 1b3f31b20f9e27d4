"""CAMs that are the first principal component of the layer's values over space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.kernels.blas import single_threaded_blas

# The rule that chooses the sign of a component.
Sign = Literal["sum", "peak"]


@dataclass(frozen=True)
class EigenCAM(Method):
    """The projection of A on its first right singular vector, each channel centered over space.

    Locations are the rows of the matrix, channels the columns. The sign is chosen so that the map
    correlates with sum_k A_k. The map does not depend on the class. The paper does not center the
    channels; the common implementations do.
    Muhammad and Yeasin, IJCNN 2020, https://arxiv.org/abs/2008.00299.

    Attributes:
        sign: Rule for the sign: "sum", or "peak", which makes the largest absolute value positive
            (the rule of Seg-Eigen-CAM).

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[0, 3, 6]], [[0, 4, 8]]]], np.float32)  # centered: +-5 along (3, 4)
        >>> EigenCAM().raw_maps(ArrayContext(activations=a)).round(3) + 0
        array([[[-5.,  0.,  5.]]], dtype=float32)
    """

    name = "eigencam"
    title = "Eigen-CAM"
    family = "activation"
    summary = "first principal component of the activations; independent of the class"
    cost = "1"
    needs = frozenset({Need.ACTIVATIONS})

    sign: Sign = "sum"

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The first principal component of A, [N, h, w]."""
        return np.stack([_first_component(a, self.sign) for a in context.activations])


@dataclass(frozen=True)
class EigenGradCAM(Method):
    """Eigen-CAM of g A instead of A.

    Gildenblat et al., pytorch-grad-cam, https://github.com/jacobgil/pytorch-grad-cam.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[0, 3, 6]], [[1, 1, 1]]]], np.float32)
        >>> g = np.array([[[[2, 2, 2]], [[5, 5, 5]]]], np.float32)
        >>> context = ArrayContext(activations=a, gradients=g)
        >>> EigenGradCAM().raw_maps(context).round(3) + 0
        array([[[-6.,  0.,  6.]]], dtype=float32)
    """

    name = "eigengradcam"
    title = "EigenGrad-CAM"
    family = "gradient"
    summary = "first principal component of gradient times activation"
    cost = "1 with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The first principal component of g A, [N, h, w]."""
        pairs = zip(context.activations, context.gradients, strict=True)
        return np.stack([_first_component(a.astype(np.float64) * g) for a, g in pairs])


@dataclass(frozen=True)
class SegEigenCAM(Method):
    """Eigen-CAM of |g| A instead of A; the largest absolute value of the map is positive.

    Chung and Ying, Applied Sciences 2025, https://doi.org/10.3390/app15137562.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[0, 3, 9]], [[1, 1, 1]]]], np.float32)
        >>> g = np.array([[[[-1, -1, -1]], [[0, 0, 0]]]], np.float32)
        >>> SegEigenCAM().raw_maps(ArrayContext(activations=a, gradients=g)).round(3)
        array([[[-4., -1.,  5.]]], dtype=float32)
    """

    name = "segeigencam"
    title = "Seg-Eigen-CAM"
    family = "gradient"
    summary = "first principal component of activation times absolute gradient"
    cost = "1 with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The first principal component of |g| A, [N, h, w]."""
        pairs = zip(context.activations, np.abs(context.gradients), strict=True)
        return np.stack([_first_component(a.astype(np.float64) * g, "peak") for a, g in pairs])


@dataclass(frozen=True)
class KPCACAM(Method):
    """The first kernel principal component of A over space, each channel centered.

    The kernel of two locations x, y is tanh(gamma x.y + 1). The sign is chosen as in Eigen-CAM,
    and the map does not depend on the class.
    Karmani et al., MMSP 2024, https://arxiv.org/abs/2410.00267.

    Attributes:
        gamma: Factor in the kernel, above 0; 0 stands for 1 / K, K the number of channels.

    Raises:
        OptionError: The factor is negative or not finite.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[0, 1, 2]], [[0, 1, 2]]]], np.float32)
        >>> heatmap = KPCACAM().raw_maps(ArrayContext(activations=a))
        >>> heatmap.argmax(axis=2)  # the location with the largest values
        array([[2]])
    """

    name = "kpcacam"
    title = "KPCA-CAM"
    family = "activation"
    summary = "first kernel principal component of the activations; independent of the class"
    cost = "1"
    needs = frozenset({Need.ACTIVATIONS})

    gamma: float = 0.0

    def __post_init__(self) -> None:
        if not (self.gamma >= 0 and math.isfinite(self.gamma)):
            raise OptionError(f"kpcacam: gamma must be at least 0, not {self.gamma}")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The first kernel principal component of A, [N, h, w]."""
        return np.stack([self._map_of(a) for a in context.activations])

    def _map_of(self, activations: Float32Array) -> Float32Array:
        channels, height, width = activations.shape
        rows = activations.reshape(channels, -1).T.astype(np.float64)
        if not np.isfinite(rows).all():
            return np.full((height, width), np.nan, np.float32)
        centered = rows - rows.mean(axis=0)
        with single_threaded_blas():
            kernel = np.tanh((self.gamma or 1 / channels) * centered @ centered.T + 1)
            # Center in the feature space of the kernel.
            kernel -= kernel.mean(axis=0, keepdims=True)
            kernel -= kernel.mean(axis=1, keepdims=True)
            values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
        component = vectors[:, -1] * math.sqrt(max(values[-1], 0.0))
        return _oriented(component, rows.sum(axis=1)).reshape(height, width)


def _first_component(values: NDArray[np.floating], sign: Sign = "sum") -> Float32Array:
    """The first principal component of values [K, h, w] over space, [h, w]."""
    channels, height, width = values.shape
    rows = values.reshape(channels, height * width).T.astype(np.float64)
    if not np.isfinite(rows).all():
        return np.full((height, width), np.nan, np.float32)
    centered = rows - rows.mean(axis=0)
    with single_threaded_blas():
        component = _projection(centered)
    if sign == "peak":
        low, high = component.min(), component.max()
        flipped = -component if -low > high else component
        return flipped.astype(np.float32).reshape(height, width)
    return _oriented(component, rows.sum(axis=1)).reshape(height, width)


def _projection(rows: Float64Array) -> Float64Array:
    """Rows [p, k] projected on their first right singular vector, [p]."""
    # Only one singular vector is needed: take the eigenvectors of the smaller Gram matrix.
    if len(rows) > rows.shape[1]:
        projection: Float64Array = rows @ np.linalg.eigh(rows.T @ rows)[1][:, -1]
        return projection
    values, vectors = np.linalg.eigh(rows @ rows.T)
    return vectors[:, -1] * math.sqrt(max(values[-1], 0.0))


def _oriented(component: Float64Array, total: Float64Array) -> Float32Array:
    """A component with the sign that correlates with the sum of all channels."""
    along = float(np.dot(component, total - total.mean()))
    return (component if along >= 0 else -component).astype(np.float32)
