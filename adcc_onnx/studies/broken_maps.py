"""Maps that are broken on purpose: a metric that is worth something ranks them low."""

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
    """Another method's raw maps, spoilt image by image.

    Attributes:
        sound: the method.
        how: "shuffled" (its places at random), "inverted" (high is low), or "shifted" (by half its
            height and width, round the edges).
    """

    name = "broken"
    family = "control"
    summary = "another method's maps, spoilt"

    sound: Method
    how: str

    @property
    def needs(self) -> frozenset[Need]:  # type: ignore[override]
        return self.sound.needs

    def raw_maps(self, context: MethodContext) -> Float32Array:
        spoil = _BREAKS[self.how]
        raw = self.sound.raw_maps(context)
        return np.stack([spoil(*pair) for pair in zip(raw, context.rngs(), strict=True)])
