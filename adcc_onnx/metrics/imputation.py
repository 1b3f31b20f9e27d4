"""Filling in removed pixels from those around them: linear imputation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array

Mask = NDArray[np.bool_]

# The neighbors of a pixel and their weights: those beside it count twice as much as diagonal ones.
_NEIGHBORS = {
    (down, right): 1 / 6 if 0 in (down, right) else 1 / 12
    for down in (-1, 0, 1)
    for right in (-1, 0, 1)
    if (down, right) != (0, 0)
}


def impute(image: Float32Array, removed: Mask) -> Float32Array:
    """The image [C, H, W] with each removed pixel the weighted mean of its eight neighbors.

    The removed ones among these are unknowns themselves: a sparse linear system, equal for all
    channels. Rong et al., ICML 2022, section 4.2, https://arxiv.org/abs/2202.00449. Where every
    pixel is removed nothing is known: zeros.
    """
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    filled = np.array(image, np.float32)
    if not removed.any():
        return filled
    if removed.all():
        return np.zeros_like(filled)
    rows, columns = np.nonzero(removed)
    unknown = np.full(removed.shape, -1)
    unknown[rows, columns] = np.arange(len(rows))
    weights, known = np.zeros(len(rows)), np.zeros((len(rows), len(image)))
    entries: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]] = []
    for (down, right), weight in _NEIGHBORS.items():
        r, c = rows + down, columns + right
        inside = (r >= 0) & (r < removed.shape[0]) & (c >= 0) & (c < removed.shape[1])
        weights[inside] += weight
        here, number = np.flatnonzero(inside), unknown[r[inside], c[inside]]
        given = number < 0
        known[here[given]] += weight * image[:, r[inside][given], c[inside][given]].T
        entries.append((here[~given], number[~given], np.full((~given).sum(), -weight)))
    diagonal = np.arange(len(rows))
    entries.append((diagonal, diagonal, weights))
    row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    matrix = csc_array((value, (row, column)), shape=(len(rows), len(rows)))
    # Symmetric and diagonally dominant: it needs no pivots, and its pattern can be kept.
    solver = splu(
        matrix,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    filled[:, rows, columns] = solver.solve(known).T
    return filled
