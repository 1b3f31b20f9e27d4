"""Infidelity: whether the map tells what taking pixels away does to the score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricContext, MetricNeed, context, maps

Mask = NDArray[np.bool_]

_TOGETHER = 32


@dataclass(frozen=True)
class Infidelity(Metric):
    """E_I (b I.M - (p(x) - p(x without I)))^2, I a random square of pixels that are set to zero.

    A map has no scale of its own, so b is the factor that makes the figure least. The squares'
    sides are uniform from an eighth to a half of the shorter side of the image. Yeh et al., NeurIPS
    2019, definition 1 and appendix ("optimal scaling"), https://arxiv.org/abs/1901.09392.

    Attributes:
        samples: squares, at least 1; each is a pass through the model.

    Raises:
        OptionError: samples is below 1.
    """

    name = "infidelity"
    title = "Infidelity"
    summary = "how badly the map predicts what the loss of a square does to the score"
    higher_is_better = False
    value_range = (0.0, math.inf)
    needs = frozenset({MetricNeed.OTHER_SCORES})

    samples: int = 100

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise OptionError(f"{self.name}: samples must be at least 1, not {self.samples}")

    def score(self, explained: Explained) -> Float64Array:
        seen, errors = context(explained), []
        for i, (heatmap, rng) in enumerate(zip(maps(explained), seen.rngs(), strict=True)):
            squares = _squares(rng, self.samples, heatmap.shape)
            without = _scores_without(seen, i, squares)
            lost = explained.probability[i] - without
            told = np.array([heatmap[square].sum(dtype=np.float64) for square in squares])
            errors.append(_least_error(told, lost))
        return np.array(errors)


def _scores_without(seen: MetricContext, image: int, squares: list[Mask]) -> Float64Array:
    """p without each of the squares, some at a time: whole images take memory."""
    parts = [squares[start : start + _TOGETHER] for start in range(0, len(squares), _TOGETHER)]
    whole = seen.images[image]
    return np.concatenate([seen.scores(image, whole * ~np.stack(part)[:, None]) for part in parts])


def _least_error(told: Float64Array, lost: Float64Array) -> float:
    """The mean of (b told - lost)^2 at the b that makes it least."""
    power = (told**2).sum()
    scale = (told * lost).sum() / power if power > 0 else 0.0
    return float(((scale * told - lost) ** 2).mean())


def _squares(rng: np.random.Generator, count: int, size: tuple[int, ...]) -> list[Mask]:
    shorter = min(size)
    squares = []
    for _ in range(count):
        side = int(rng.integers(max(1, shorter // 8), max(1, shorter // 2) + 1))
        top, left = (int(rng.integers(extent - side + 1)) for extent in size)
        square = np.zeros(size, bool)
        square[top : top + side, left : left + side] = True
        squares.append(square)
    return squares
