"""Attribution maps that are broken on purpose, which a good metric must rank low."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.kernels.arrays import Float32Array

_Break = Callable[[Float32Array, np.random.Generator], Float32Array]


def _shuffled(raw: Float32Array, rng: np.random.Generator) -> Float32Array:
    return rng.permutation(raw.reshape(-1)).reshape(raw.shape)


def _inverted(raw: Float32Array, rng: np.random.Generator) -> Float32Array:
    inverted: Float32Array = raw.max() - raw
    return inverted


def _shifted(raw: Float32Array, rng: np.random.Generator) -> Float32Array:
    return np.roll(raw, (raw.shape[0] // 2, raw.shape[1] // 2), axis=(0, 1))


_BREAKS: dict[str, _Break] = {"shuffled": _shuffled, "inverted": _inverted, "shifted": _shifted}
BREAKS = tuple(_BREAKS)


@dataclass(frozen=True)
class BrokenMaps(Method):
    """The raw maps of another method, broken image by image.

    Attributes:
        original: Method whose maps are broken.
        how: "shuffled" (locations permuted at random), "inverted" (high values become low), or
            "shifted" (rolled by half the height and width).

    Example:
        >>> from adcc_onnx.cams.method_registry import get_method
        >>> BrokenMaps(get_method("gradcam"), "inverted").how
        'inverted'
    """

    name = "broken"
    family = "control"
    summary = "another method's maps, broken on purpose"

    original: Method
    how: str

    @property
    def needs(self) -> frozenset[Need]:  # type: ignore[override]
        """What the original method reads from the model."""
        return self.original.needs

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """Return the broken raw maps."""
        break_map = _BREAKS[self.how]
        raw = self.original.raw_maps(context)
        return np.stack([break_map(*pair) for pair in zip(raw, context.rngs(), strict=True)])
