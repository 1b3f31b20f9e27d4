"""The tokens of a transformer: where they are in the image, and which of them the scores read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.kernels.arrays import Float32Array, Float64Array


@dataclass(frozen=True)
class TokenGrid:
    """The tokens of a transformer.

    Attributes:
        grid: The rows and columns (h, w) of the tokens of image patches.
        prefix_tokens: The number of class and register tokens before them.
        read: The first token that the scores are computed from, and the one after the last: the
            class token, or all tokens that are pooled.

    Example:
        >>> tokens = TokenGrid(grid=(1, 2), prefix_tokens=1, read=(0, 1))
        >>> tokens.readout()
        array([1., 0., 0.])
        >>> tokens.fold(np.array([[9, 1, 2]]))
        array([[[1., 2.]]], dtype=float32)
    """

    grid: tuple[int, int]
    prefix_tokens: int = 0
    read: tuple[int, int] = (0, 1)

    @property
    def count(self) -> int:
        """The number of all tokens."""
        return self.prefix_tokens + self.grid[0] * self.grid[1]

    def readout(self) -> Float64Array:
        """The share of each token in what the scores read, [tokens]; the sum is 1."""
        start, stop = self.read
        shares = np.zeros(self.count)
        shares[start:stop] = 1 / (stop - start)
        return shares

    def fold(self, values: Float32Array | Float64Array) -> Float32Array:
        """Arrange values of the tokens, [N, tokens], as maps [N, h, w], without prefix tokens."""
        patches = values[:, self.prefix_tokens :]
        return patches.reshape(len(values), *self.grid).astype(np.float32)
