"""From a method's raw maps to maps in [0, 1] at the image's size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method
from adcc_onnx.explanation.batch_context import BatchContext, MethodLog
from adcc_onnx.explanation.run_outputs import RunOutputs
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.min_max_normalize import min_max_normalize
from adcc_onnx.kernels.upsample import upsample


@dataclass(frozen=True)
class Maps:
    """The maps of one method for a batch of N images.

    Attributes:
        small: The maps M in [0, 1] at the method's own resolution, [N, h, w]; zeros where
            degenerate or failed.
        size: The size (H, W) of the images.
        degenerate: Whether the raw map was constant, [N].
        failed: Whether there is no valid map, [N].
        reasons: Why images failed, by the image's index, for other reasons than NaN or Inf.
        passes: The number of runs of the model on each image that the maps took, [N].
        notes: The method's remarks by the image's index.
    """

    small: Float32Array
    size: tuple[int, int]
    degenerate: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    passes: NDArray[np.int64]
    reasons: dict[int, str] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)

    @cached_property
    def maps(self) -> Float32Array:
        """The maps M at the size of the images, [N, H, W]."""
        return upsample(self.small, self.size)

    def reason(self, image: int) -> str:
        """Return why an image failed.

        Args:
            image: The index of the image.
        """
        return self.reasons.get(image, "the map holds NaN or infinite values")


# The product is the refinement of Domeniconi et al., 2026, https://arxiv.org/abs/2605.14641.
_FUSE: dict[str, Callable[..., Float32Array]] = {
    "mean": np.mean,
    "max": np.max,
    "product": np.prod,
}


def maps_of(method: Method, outputs: RunOutputs) -> Maps:
    """Compute a method's maps: min-max at the layer's resolution, then bilinear to H x W.

    The maps of several layers are fused by their mean, maximum or product (`Model.fuse`) and
    normalized again.

    Args:
        method: The method.
        outputs: The outputs of the run on the images.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.cams.method_registry import get_method
        >>> from adcc_onnx.drawings import classifier_path
        >>> from adcc_onnx.explanation.run_outputs import run_images
        >>> model, method = adcc_onnx.load(classifier_path(), device="cpu"), get_method("gradcam")
        >>> images = np.random.default_rng(0).random((2, 3, 112, 112), np.float32)
        >>> outputs = run_images(model, images, None, method.needs, [0, 1])
        >>> maps_of(method, outputs).maps.shape
        (2, 112, 112)
    """
    model, log = outputs.model, MethodLog.for_images(len(outputs.seeds))
    contexts = [BatchContext(outputs, layer, log) for layer in range(len(model.layers))]
    maps = [_of_layer(method, context, model.size) for context in contexts]
    if len(maps) == 1:
        return maps[0]
    failed = np.logical_or.reduce([one.failed for one in maps])
    fused = _FUSE[model.fuse]([one.maps for one in maps], axis=0)
    normalized, degenerate = min_max_normalize(
        np.where(failed[:, None, None], np.float32(0), fused)
    )
    return Maps(normalized, model.size, degenerate & ~failed, failed, log.passes, notes=log.notes)


def _of_layer(method: Method, context: BatchContext, size: tuple[int, int]) -> Maps:
    raw = np.ascontiguousarray(method.raw_maps(context), dtype=np.float32)
    failed: NDArray[np.bool_] = np.logical_not(np.isfinite(raw).all(axis=(1, 2)))
    if failed.any():
        raw = np.where(failed[:, None, None], np.float32(0), raw)
    normalized, degenerate = min_max_normalize(raw)
    log = context.log
    return Maps(normalized, size, degenerate & ~failed, failed, log.passes, notes=log.notes)
