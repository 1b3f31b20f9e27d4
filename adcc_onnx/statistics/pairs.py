"""Two methods on the same images: the difference, its interval, and a permutation p-value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adcc_onnx.statistics.intervals import ROUNDING, Interval, estimate
from adcc_onnx.statistics.resampling import Floats, Resampling, blocks, means

Figure = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Difference:
    """The figure of the first less that of the second.

    Attributes:
        images: how many both have.
        value: NaN without images.
        interval: of the difference; None with fewer than two images.
        p: of "the two are exchangeable"; 1 without images.
    """

    images: int
    value: float
    interval: Interval | None
    p: float


def difference(first: Floats, second: Floats, figure: Figure, resampling: Resampling) -> Difference:
    """Compare two methods image by image.

    Args:
        first, second: values of the same images in the same order, [K, n]; no NaN.
        figure: from means [K, R] to figures [R].
        resampling: how.
    """
    count, images = first.shape

    def differences(found: Floats) -> Floats:
        return (figure(found[:count]) - figure(found[count:]))[None]

    found = estimate(np.concatenate([first, second]), differences, resampling)
    interval = None if images < 2 else (float(found.low[0]), float(found.high[0]))
    p = swap_p_value(first, second, figure, resampling)
    return Difference(images, float(found.figures[0]), interval, p)


def swap_p_value(first: Floats, second: Floats, figure: Figure, resampling: Resampling) -> float:
    """How often swapping the two at random, image by image, differs as much: (1 + #) / (1 + P).

    All values of an image are swapped together, and the figures are taken of the swapped data sets.
    Two-sided; Ernst, Permutation Methods, Statistical Science 19(4), 2004; the 1 is for the data
    as they are (Phipson and Smyth, SAGMB 9(1), 2010).

    Args:
        first, second, figure, resampling: as for `difference`.
    """
    images = first.shape[1]
    if not images:
        return 1.0
    here, there = means(first), means(second)
    observed = abs((figure(here) - figure(there))[0])
    margin = ROUNDING * max(1.0, observed)
    rng = np.random.default_rng(resampling.seed)
    extreme = 0
    for rows in blocks(resampling.permutations, images):
        swapped = rng.integers(2, size=(rows, images), dtype=np.int8).astype(np.float64)
        moved = (swapped @ (second - first).T).T / images
        drawn = np.abs(figure(here + moved) - figure(there - moved))
        extreme += int((drawn >= observed - margin).sum())
    return (1 + extreme) / (1 + resampling.permutations)


def holm(p: Floats, hypotheses: int | None = None) -> Floats:
    """p-values [m] adjusted so that the chance of any false rejection stays below the level.

    Holm, Scandinavian Journal of Statistics 6, 1979.

    Args:
        p: the p-values.
        hypotheses: how many could have been tested, where data chose these m of them; m if None.
    """
    count = len(p) if hypotheses is None else hypotheses
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (count - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
