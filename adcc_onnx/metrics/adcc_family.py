"""ADCC and its companions: what happens to the score and the map if only the explanation is kept.

Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.kernels.similarity import mean_abs
from adcc_onnx.metrics.metric import CompositeMetric, ExplainedBatch, Metric, MetricNeed


class AverageDrop(Metric):
    """max(0, p(x) - p(e)) / p(x), and 0 where p(x) = 0.

    Chattopadhay et al., Grad-CAM++, WACV 2018, https://arxiv.org/abs/1710.11063.

    Example:
        >>> AverageDrop().score(ExplainedBatch(np.array([0.8, 0.5]), np.array([0.2, 0.7])))
        array([0.75, 0.  ])
    """

    name = "average_drop"
    title = "Avg drop"
    summary = "fraction of the class probability that the explanation map loses"
    limits = (
        "A map that covers the whole image loses nothing, so a low drop alone does not show "
        "that a map is right."
    )
    higher_is_better = False
    needs = frozenset({MetricNeed.MASKED_SCORE})

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The lost fraction of p(x), [N]."""
        return relative_drop(explained.probability, explained.require_masked_probability())


class DropInDeletion(Metric):
    """max(0, p(x) - p(x * (1 - M))) / p(x), and 0 where p(x) = 0.

    Jung and Oh, Towards Better Explanations of Class Activation Mapping, ICCV 2021,
    https://arxiv.org/abs/2102.05228.

    Example:
        >>> p, deleted = np.array([0.8, 0.5]), np.array([0.2, 0.7])
        >>> DropInDeletion().score(ExplainedBatch(p, deleted_probability=deleted))
        array([0.75, 0.  ])
    """

    name = "drop_in_deletion"
    title = "Drop in deletion"
    summary = "fraction of the class probability that is lost without the highlighted part"
    limits = (
        "A map that covers the whole image deletes everything, so a high value alone does not "
        "show that a map is right."
    )
    higher_is_better = True
    needs = frozenset({MetricNeed.DELETED_SCORE})

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The lost fraction of p(x), [N]."""
        return relative_drop(explained.probability, explained.require_deleted_probability())


class AverageIncrease(Metric):
    """1 if p(x) < p(e), else 0.

    Chattopadhay et al., Grad-CAM++, WACV 2018, https://arxiv.org/abs/1710.11063.

    Example:
        >>> AverageIncrease().score(ExplainedBatch(np.array([0.8, 0.5]), np.array([0.2, 0.7])))
        array([0., 1.])
    """

    name = "average_increase"
    title = "Avg increase"
    summary = "fraction of images whose class probability rises on the explanation map"
    limits = "It counts any increase, however small, and covering the whole image scores well."
    higher_is_better = True
    needs = frozenset({MetricNeed.MASKED_SCORE})

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """1 where the explanation map scores higher, [N]."""
        higher = explained.probability < explained.require_masked_probability()
        return higher.astype(np.float64)


class AverageGain(Metric):
    """max(0, p(e) - p(x)) / (1 - p(x)), and 0 where p(x) = 1.

    Zhang et al., Opti-CAM, CVIU 2024, https://arxiv.org/abs/2301.07002.

    Example:
        >>> AverageGain().score(ExplainedBatch(np.array([0.8, 0.5]), np.array([0.2, 0.75])))
        array([0. , 0.5])
    """

    name = "average_gain"
    title = "Avg gain"
    summary = "fraction of the missing class probability that the explanation map gains"
    limits = "Like average drop, it rewards maps that keep most of the image."
    higher_is_better = True
    needs = frozenset({MetricNeed.MASKED_SCORE})

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The gained fraction of 1 - p(x), [N]."""
        p = explained.probability
        won = np.maximum(0.0, explained.require_masked_probability() - p)
        return np.divide(won, 1.0 - p, out=np.zeros_like(won), where=p < 1)


class Coherency(Metric):
    """(1 + pearson(CAM(e), CAM(x))) / 2 over the H W pixels; 0 where a map has no variance.

    The correlation is mapped from [-1, 1] to [0, 1] as in the paper.
    Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252.

    Example:
        >>> maps = np.array([[[0, 1]], [[0, 1]]], np.float32)
        >>> second_maps = np.array([[[0, 1]], [[1, 0]]], np.float32)  # the same, the opposite
        >>> Coherency().score(ExplainedBatch(np.ones(2), maps=maps, second_maps=second_maps))
        array([1., 0.])
    """

    name = "coherency"
    title = "Coherency"
    summary = "similarity of the map of the explanation map to the original map"
    limits = (
        "It is 1 for any map that ignores the image, such as a fixed one: it does not show "
        "that the map depends on the model."
    )
    higher_is_better = True
    needs = frozenset({MetricNeed.SECOND_MAP})

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The correlation of the two maps, mapped to [0, 1], [N]."""
        return (1.0 + explained.map_similarity[0]) / 2.0


class Complexity(Metric):
    """sum |M| / (H W): the L1 norm of the map as a fraction of the image.

    Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252.

    Example:
        >>> Complexity().score(ExplainedBatch(np.ones(1), maps=np.eye(4, dtype=np.float32)[None]))
        array([0.25])
    """

    name = "complexity"
    title = "Complexity"
    summary = "mean value of the map: the fraction of the image that is highlighted"
    limits = (
        "It measures how much of the image is highlighted, not whether the highlighted part "
        "is the right one."
    )
    higher_is_better = False

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The mean of the map, [N]."""
        if explained.second_maps is not None:
            return explained.map_similarity[1]  # computed together with the coherency
        return mean_abs(explained.full_size_maps)


class ADCC(CompositeMetric):
    """3 / (1/coherency + 1/(1 - complexity) + 1/(1 - drop)), and 0 where a term is 0.

    The published tables take the harmonic mean of the three means over the dataset, which is the
    score `adcc`. The mean of the images' own values is the score `adcc_per_image`.
    Poppi et al., CVPRW 2021, https://arxiv.org/abs/2104.10252.

    Example:
        >>> maps = np.array([[[0, 1]]], np.float32)
        >>> batch = ExplainedBatch(np.array([0.8]), np.array([0.4]), maps, second_maps=maps)
        >>> ADCC().score(batch)  # 3 / (1/1 + 1/0.5 + 1/0.5)
        array([0.6])
    """

    name = "adcc"
    title = "ADCC"
    summary = "harmonic mean of coherency, 1 - complexity and 1 - average drop"
    limits = (
        "A fixed map in the center of the image can score as high as a CAM on photos whose "
        "objects are centered. Compare with the controls."
    )
    higher_is_better = True
    parts = (AverageDrop(), Coherency(), Complexity())
    needs = frozenset().union(*(part.needs for part in parts))

    def combine(self, values: Mapping[str, Float64Array]) -> Float64Array:
        """The harmonic mean of the three terms, [N]."""
        return harmonic_mean(
            values[Coherency.name],
            1.0 - values[Complexity.name],
            1.0 - values[AverageDrop.name],
        )

    def aggregate(self, means: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
        """The harmonic mean of the dataset's means, and the mean of the images' values."""
        return {self.name: self.combine(means), f"{self.name}_per_image": means[self.name]}


def relative_drop(p: Float64Array, changed: Float64Array) -> Float64Array:
    """max(0, p - changed) / p element by element; 0 where p = 0.

    Example:
        >>> relative_drop(np.array([0.8, 0.5, 0.0]), np.array([0.2, 0.7, 0.1]))
        array([0.75, 0.  , 0.  ])
    """
    lost = np.maximum(0.0, p - changed)
    quotient: Float64Array = np.divide(lost, p, out=np.zeros_like(lost), where=p > 0)
    return quotient


def harmonic_mean(*terms: Float64Array) -> Float64Array:
    """The element-wise harmonic mean of non-negative numbers; 0 where one of them is 0.

    Example:
        >>> harmonic_mean(np.array([1.0, 1.0]), np.array([0.5, 0.0])).round(3)
        array([0.667, 0.   ])
    """
    least = np.minimum.reduce(terms)
    # Relative to the smallest term, no reciprocal overflows, however small that term is.
    parts = [np.divide(least, t, out=np.ones_like(t), where=t > 0) for t in terms]
    mean: Float64Array = len(terms) * least / np.add.reduce(parts)
    return mean
