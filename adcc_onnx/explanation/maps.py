"""From a method's raw maps to maps in [0, 1] at the image's size."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method, MethodContext
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.min_max_normalize import min_max_normalize
from adcc_onnx.kernels.upsample import upsample


@dataclass(frozen=True)
class Maps:
    """Maps of one method for a batch.

    Attributes:
        small: M in [0, 1] as the method made it, [N, h, w]; zeros where degenerate or failed.
        size: (H, W) of the image.
        degenerate: [N], the raw map was constant.
        failed: [N], there is no sound map.
        reasons: why, by the image's number, where it is not that the raw map held NaN or Inf.
    """

    small: Float32Array
    size: tuple[int, int]
    degenerate: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    reasons: dict[int, str] = field(default_factory=dict)

    @cached_property
    def maps(self) -> Float32Array:
        """M at the image's size, [N, H, W]."""
        return upsample(self.small, self.size)

    def reason(self, image: int) -> str:
        """Why image number `image` failed."""
        return self.reasons.get(image, "the map holds NaN or infinite values")


def maps_of(method: Method, context: BatchContext, fuse: str = "mean") -> Maps:
    """The method's maps: min-max at the layer's resolution, then bilinear to H x W.

    Maps of several layers are fused by their mean, or where `fuse` is "max" by their maximum, and
    normalized again.
    """
    maps = [_of_layer(method, view, context.size) for view in context.layers()]
    if len(maps) == 1:
        return maps[0]
    failed = np.logical_or.reduce([one.failed for one in maps])
    stacked = np.stack([one.maps for one in maps])
    fused = stacked.max(axis=0) if fuse == "max" else stacked.mean(axis=0)
    normalized, degenerate = min_max_normalize(
        np.where(failed[:, None, None], np.float32(0), fused)
    )
    return Maps(normalized, context.size, degenerate & ~failed, failed)


def _of_layer(method: Method, context: MethodContext, size: tuple[int, int]) -> Maps:
    raw = np.ascontiguousarray(method.raw_maps(context), dtype=np.float32)
    failed: NDArray[np.bool_] = np.logical_not(np.isfinite(raw).all(axis=(1, 2)))
    if failed.any():
        raw = np.where(failed[:, None, None], np.float32(0), raw)
    normalized, degenerate = min_max_normalize(raw)
    return Maps(normalized, size, degenerate & ~failed, failed)
