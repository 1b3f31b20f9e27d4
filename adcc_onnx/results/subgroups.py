"""The main score by class and by confidence: how far a method's score depends on the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from adcc_onnx.results.ranking import MethodValues, align_images
from adcc_onnx.results.rows import ImageRow
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.statistics.resampling import means

# Bounds of the groups of p(x); the last group includes 1.
_CONFIDENCE_BOUNDS = (0.0, 0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Subgroup:
    """The score of every method on a part of the images.

    Attributes:
        explained_class: Index of the explained class; None for a group by confidence.
        confidence: Bounds of the probability p(x) of the explained class; None for a class.
        images: Number of images in the group.
        scores: Score of each method, by name; a method without values is absent.
    """

    explained_class: int | None
    confidence: tuple[float, float] | None
    images: int
    scores: Mapping[str, float]


def by_class(
    methods: Sequence[MethodValues], rows: Sequence[ImageRow], score: Score, most: int
) -> list[Subgroup]:
    """Score the methods on the images of each explained class.

    Args:
        methods: Values of the methods, with images identified by position.
        rows: The images.
        score: The score.
        most: Largest number of classes; those with the most images are taken.

    Returns:
        The groups, those with the most images first, and then by class index.
    """
    members: dict[int, list[int]] = {}
    for row in rows:
        if row.target is not None and row.probability is not None:
            members.setdefault(row.target, []).append(row.position)
    largest = sorted(members, key=lambda index: (-len(members[index]), index))[:most]
    return [
        Subgroup(index, None, len(members[index]), _scores(methods, members[index], score))
        for index in largest
    ]


def by_confidence(
    methods: Sequence[MethodValues], rows: Sequence[ImageRow], score: Score
) -> list[Subgroup]:
    """Score the methods on the images of each range of p(x); empty ranges are left out."""
    known = [row for row in rows if row.probability is not None]
    probabilities = np.array([row.probability for row in known], np.float64)
    places = np.searchsorted(_CONFIDENCE_BOUNDS[1:-1], probabilities, side="right")
    groups = []
    for i, bounds in enumerate(pairwise(_CONFIDENCE_BOUNDS)):
        members = [known[place].position for place in np.flatnonzero(places == i)]
        if members:
            found = _scores(methods, members, score)
            groups.append(Subgroup(None, bounds, len(members), found))
    return groups


def _scores(
    methods: Sequence[MethodValues], positions: Sequence[int], score: Score
) -> dict[str, float]:
    parts = [_restricted(method, positions) for method in methods]
    values = align_images(parts, score.columns)
    found = {
        part.name: float(score.from_means(means(columns))[0])
        for part, columns in zip(parts, values, strict=True)
    }
    return {name: value for name, value in found.items() if not np.isnan(value)}


def _restricted(method: MethodValues, positions: Sequence[int]) -> MethodValues:
    inside = np.isin(method.images, positions)
    values = {name: column[inside] for name, column in method.values.items()}
    return replace(method, images=method.images[inside], values=values)
