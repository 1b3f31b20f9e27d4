"""ROAD: the score with pixels filled in from their neighbors, so that their shape tells nothing.

Rong et al., ICML 2022, https://arxiv.org/abs/2202.00449.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.adcc_family import Coherency, Complexity, harmonic_mean
from adcc_onnx.metrics.metric import CompositeMetric, ExplainedBatch, Metric, MetricNeed
from adcc_onnx.metrics.pixel_curves import pixel_ranks

Mask = NDArray[np.bool_]

_FRACTIONS = np.arange(1, 10) / 10  # of the pixels that are removed
_NOISE = 0.01  # standard deviation as a fraction of the image's range

# The neighbors of a pixel and their weights: adjacent ones count twice as much as diagonal ones.
_NEIGHBORS = {
    (down, right): 1 / 6 if 0 in (down, right) else 1 / 12
    for down in (-1, 0, 1)
    for right in (-1, 0, 1)
    if (down, right) != (0, 0)
}


class Removal(Metric):
    """The mean of p(c) with 10, 20, ... 90 % of the pixels imputed from their neighbors.

    Noisy linear imputation with sigma 0.01 of the image's range.
    Rong et al., ICML 2022, https://arxiv.org/abs/2202.00449.
    """

    needs = frozenset({MetricNeed.OTHER_SCORES})

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The mean of p over the removed fractions, [N]."""
        context, means = explained.require_context(), []
        maps = explained.full_size_maps
        for i, (heatmap, rng) in enumerate(zip(maps, context.rngs(), strict=True)):
            image = context.images[i]
            ranks = self.removal_ranks(heatmap)
            removed = [ranks < np.rint(fraction * ranks.size) for fraction in _FRACTIONS]
            curve = context.scores(i, np.stack([_noisy(image, mask, rng) for mask in removed]))
            context.keep(i, curve)
            means.append(curve.mean())
        return np.array(means)

    @abstractmethod
    def removal_ranks(self, heatmap: Float32Array) -> NDArray[np.int64]:
        """The position of each pixel in the order of removal, [H, W]."""


class RoadMorf(Removal):
    """The mean of p(c) with the most relevant pixels removed first, see `Removal`.

    Rong et al., ICML 2022, https://arxiv.org/abs/2202.00449.

    Example:
        >>> from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
        >>> image = np.zeros((1, 1, 4, 4), np.float32)
        >>> image[..., 1, 1] = 1
        >>> context = ArrayMetricContext(image, score=lambda images: images[:, 0, 1, 1])
        >>> explained = ExplainedBatch(np.ones(1), maps=image[:, 0], context=context)
        >>> bool(RoadMorf().score(explained)[0] < 0.1)  # the pixel that matters is removed first
        True
    """

    name = "road_morf"
    title = "ROAD MoRF"
    summary = "class probability with the most relevant pixels imputed (MoRF)"
    limits = (
        "Imputation lowers the influence of the removed shape but does not remove it. The "
        "score compares maps on one model, not models."
    )
    higher_is_better = False

    def removal_ranks(self, heatmap: Float32Array) -> NDArray[np.int64]:
        """The most relevant pixel first."""
        return pixel_ranks(heatmap)


class RoadLerf(Removal):
    """The mean of p(c) with the least relevant pixels removed first, see `Removal`.

    Rong et al., ICML 2022, https://arxiv.org/abs/2202.00449.

    Example:
        >>> from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
        >>> image = np.zeros((1, 1, 4, 4), np.float32)
        >>> image[..., 1, 1] = 1
        >>> context = ArrayMetricContext(image, score=lambda images: images[:, 0, 1, 1])
        >>> RoadLerf().score(ExplainedBatch(np.ones(1), maps=image[:, 0], context=context))
        array([1.])
    """

    name = "road_lerf"
    title = "ROAD LeRF"
    summary = "class probability with the least relevant pixels imputed (LeRF)"
    limits = (
        "Imputation lowers the influence of the removed shape but does not remove it. The "
        "score compares maps on one model, not models."
    )
    higher_is_better = True

    def removal_ranks(self, heatmap: Float32Array) -> NDArray[np.int64]:
        """The least relevant pixel first."""
        return heatmap.size - 1 - pixel_ranks(heatmap)


class Road(CompositeMetric):
    """(LeRF - MoRF) / 2: how much less the score needs the unimportant pixels than the important.

    Rong et al., ICML 2022, https://arxiv.org/abs/2202.00449; the two orders are combined as in
    pytorch-grad-cam's ROADCombined.

    Example:
        >>> values = {"road_morf": np.array([0.2]), "road_lerf": np.array([0.8])}
        >>> Road().combine(values)
        array([0.3])
    """

    name = "road"
    title = "ROAD"
    summary = "(ROAD LeRF - ROAD MoRF) / 2"
    limits = "The difference of two curves hides which of them is responsible."
    higher_is_better = True
    value_range = (-0.5, 0.5)
    parts = (RoadMorf(), RoadLerf())
    needs = Removal.needs

    def combine(self, values: Mapping[str, Float64Array]) -> Float64Array:
        """Half the difference of the two orders, [N]."""
        return (values[RoadLerf.name] - values[RoadMorf.name]) / 2


class ARCC(CompositeMetric):
    """The harmonic mean of coherency, 1 - complexity and clip(2 ROAD, 0, 1).

    ADCC with ROAD, doubled to reach from 0 to 1, in place of 1 - average drop: imputed pixels lie
    closer to the training data than pixels of a constant. As with ADCC, the score `arcc` takes the
    means over the dataset, and `arcc_per_image` is the mean of the images' own values.
    Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252, and Rong et al., ICML 2022,
    https://arxiv.org/abs/2202.00449.

    Example:
        >>> values = {"coherency": 1.0, "complexity": 0.5, "road": 0.25}
        >>> ARCC().combine({name: np.array([value]) for name, value in values.items()})
        array([0.6])
    """

    name = "arcc"
    title = "ARCC"
    summary = "harmonic mean of coherency, 1 - complexity and twice ROAD"
    limits = "A negative ROAD counts as 0, so the value does not tell how wrong such a map is."
    higher_is_better = True
    parts = (Coherency(), Complexity(), Road())
    needs = frozenset().union(*(part.needs for part in parts))

    def combine(self, values: Mapping[str, Float64Array]) -> Float64Array:
        """The harmonic mean of the three terms, [N]."""
        return harmonic_mean(
            values[Coherency.name],
            1.0 - values[Complexity.name],
            np.clip(2.0 * values[Road.name], 0.0, 1.0),
        )

    def aggregate(self, means: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
        """The harmonic mean of the dataset's means, and the mean of the images' values."""
        return {self.name: self.combine(means), f"{self.name}_per_image": means[self.name]}


def impute(image: Float32Array, removed: Mask) -> Float32Array:
    """The image with each removed pixel replaced by the weighted mean of its eight neighbors.

    Removed neighbors are unknowns as well, which gives a sparse linear system, the same for all
    channels. If every pixel is removed, the result is zeros.
    Rong et al., ICML 2022, section 4.2, https://arxiv.org/abs/2202.00449.

    Args:
        image: The image, [C, H, W].
        removed: The pixels to replace, [H, W].

    Returns:
        [C, H, W].

    Example:
        >>> image = np.array([[[1, 9, 3]]], np.float32)
        >>> impute(image, np.array([[False, True, False]]))
        array([[[1., 2., 3.]]], dtype=float32)
    """
    from scipy.sparse.linalg import splu

    filled = np.array(image, np.float32)
    if not removed.any():
        return filled
    if removed.all():
        return np.zeros_like(filled)
    matrix, known = _neighbor_system(image, removed)
    # Symmetric and diagonally dominant: no pivoting is needed, and the pattern can be kept.
    solver = splu(
        matrix,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    rows, columns = np.nonzero(removed)
    filled[:, rows, columns] = solver.solve(known).T
    return filled


def _neighbor_system(image: Float32Array, removed: Mask) -> tuple[object, Float64Array]:
    """The sparse matrix [R, R] and the right-hand side [R, C] for the R removed pixels."""
    from scipy.sparse import csc_array

    rows, columns = np.nonzero(removed)
    unknown = np.full(removed.shape, -1)
    unknown[rows, columns] = np.arange(len(rows))
    weights, known = np.zeros(len(rows)), np.zeros((len(rows), len(image)))
    entries: list[tuple[NDArray[np.intp], NDArray[np.intp], Float64Array]] = []
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
    return csc_array((value, (row, column)), shape=(len(rows), len(rows))), known


def _noisy(image: Float32Array, removed: Mask, rng: np.random.Generator) -> Float32Array:
    """The imputed image with noise on the removed pixels."""
    noise = rng.standard_normal((len(image), int(removed.sum())))
    filled = impute(image, removed)
    filled[:, removed] += (_NOISE * np.ptp(image) * noise).astype(np.float32)
    return filled
