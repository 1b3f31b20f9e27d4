"""Maps from random masks of the image: RISE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array

_CHUNK = 64  # masks in memory at a time


@dataclass(frozen=True)
class RISE(Method):
    """sum_m p_c(x * M_m) M_m / sum_m M_m over random masks M_m at the image's resolution.

    This estimates E[p_c(x * M) | the pixel is kept], the importance that the paper defines. The
    paper divides by the expected coverage, masks x keep; this class divides by the coverage of
    each pixel. Both converge to the same map, but where p is high for every mask, the paper's
    quotient shows the random variation of the coverage.
    A mask is a grid of cells, each kept with probability `keep`, upsampled bilinearly to one cell
    more than the image and cropped at a random position. The method uses no layer.
    Petsiuk, Das and Saenko, BMVC 2018, https://arxiv.org/abs/1806.07421.

    Attributes:
        masks: Number of masks, at least 1. Each takes a forward pass.
        grid: Number of cells along a side, at least 2.
        keep: Probability of keeping a cell, between 0 and 1.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> def score(images):  # two classes; the left half decides
        ...     left = images[:, 0, :, :4].mean(axis=(1, 2))
        ...     return np.stack([left, -left], axis=1)
        >>> context = ArrayContext(images=np.ones((1, 1, 8, 8), np.float32), score=score)
        >>> heatmap = RISE(masks=200, grid=4).raw_maps(context)[0]
        >>> bool(heatmap[:, :3].min() > heatmap[:, 5:].max())
        True
    """

    name = "rise"
    title = "RISE"
    family = "perturbation"
    summary = "random masks weighted by the class probability of the masked image"
    cost = "masks"
    needs = frozenset({Need.MASKED_SCORES})

    masks: int = 4000
    grid: int = 7
    keep: float = 0.5

    def __post_init__(self) -> None:
        if self.masks < 1 or self.grid < 2 or not 0 < self.keep < 1:
            raise OptionError("rise: masks must be at least 1, grid at least 2, keep inside (0, 1)")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The mean probability behind the masks that keep a pixel, [N, H, W]."""
        sources = context.rngs()
        return np.stack([self._map_of(context, i, rng) for i, rng in enumerate(sources)])

    def _map_of(self, context: MethodContext, image: int, rng: np.random.Generator) -> Float32Array:
        height, width = context.images.shape[2:]
        total, coverage = np.zeros((height, width)), np.zeros((height, width))
        for masks in self.drawn(rng, height, width):
            p = context.probability(image, context.masked_scores(image, masks))
            total += np.tensordot(p, masks, axes=1)
            coverage += masks.sum(axis=0, dtype=np.float64)
        mean = np.divide(total, coverage, out=np.zeros_like(total), where=coverage != 0)
        return mean.astype(np.float32)

    def drawn(self, rng: np.random.Generator, height: int, width: int) -> Iterator[Float32Array]:
        """The masks, up to 64 at a time, [<= 64, H, W]."""
        for start in range(0, self.masks, _CHUNK):
            count = min(_CHUNK, self.masks - start)
            yield np.stack([self._mask(rng, height, width) for _ in range(count)])

    def _mask(self, rng: np.random.Generator, height: int, width: int) -> Float32Array:
        cells = (rng.random((self.grid, self.grid)) < self.keep).astype(np.float32)
        tall, wide = -(-height // self.grid), -(-width // self.grid)
        size = ((self.grid + 1) * wide, (self.grid + 1) * tall)
        large = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR)
        top, left = int(rng.integers(tall)), int(rng.integers(wide))
        return np.asarray(large[top : top + height, left : left + width], np.float32)
