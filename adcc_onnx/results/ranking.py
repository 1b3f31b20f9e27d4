"""The order of methods by a score, with paired significance tests against the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.rows import StoredRun
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.statistics.paired_tests import holm_correction, permutation_p_values
from adcc_onnx.statistics.resampling import Resampling, means

# Tests one method against others: the number of the method, those of the others, and the number of
# hypotheses that the p-values will be corrected for. Returns one p-value per other method.
PairTest = Callable[[int, Sequence[int], int], Float64Array]


@dataclass(frozen=True)
class MethodValues:
    """The per-image values of a method, or of a method on one of several models.

    Attributes:
        name: Name that is unique among the methods that are ranked together.
        images: Positions or names that identify the images, [n], without duplicates.
        values: Values of each metric, [n]; NaN where an image has none.
        is_control: Whether the method is a control, which does not depend on the model.
    """

    name: str
    images: NDArray[Any]
    values: Mapping[str, Float64Array]
    is_control: bool = False


@dataclass(frozen=True)
class Ranking:
    """Methods in the order of a score, and the controls apart from them.

    A run that holds nothing but controls ranks them like methods.

    Attributes:
        score: The score that ranks the methods.
        order: Names of the methods, the best first; methods without the score come last.
        controls: Names of the controls, likewise.
        p_values: Holm-corrected p-value of each other method and control with the score, against
            the best method.
        control_p_values: Holm-corrected p-value of each method with the score against the best
            control; 1 where the method's score is not better. Empty without controls.
    """

    score: Score
    order: list[str]
    controls: list[str]
    p_values: dict[str, float]
    control_p_values: dict[str, float]

    @property
    def best(self) -> str:
        """Name of the best method."""
        return self.order[0]

    @property
    def best_control(self) -> str | None:
        """Name of the best control; None if no control has the score."""
        return self.controls[0] if self.control_p_values else None

    @property
    def rows(self) -> list[str]:
        """Names of the methods and then of the controls, the best first."""
        return [*self.order, *self.controls]

    @property
    def pairs(self) -> int:
        """Number of pairs of methods, which is the number of hypotheses that Holm corrects for."""
        return len(self.p_values) * (len(self.p_values) + 1) // 2

    def smallest_p_value(self, images: int) -> float:
        """Return the smallest corrected p-value that a difference on some images can have.

        Args:
            images: Number of images n. Of the 2^n signs of n differences, the observed ones and
                their opposite are always as extreme.
        """
        return min(1.0, max(1, self.pairs) * 2.0 ** (1 - images))

    def can_be_significant(self, images: int, confidence: float) -> bool:
        """Return whether a number of images allows any significant difference.

        Args:
            images: Number of images.
            confidence: Confidence level of the test, in (0, 1).
        """
        return not self.pairs or self.smallest_p_value(images) < 1.0 - confidence

    def not_significantly_worse(self, confidence: float) -> list[str]:
        """Return the methods whose difference from the best is not statistically significant.

        Args:
            confidence: Confidence level of the test, in (0, 1).

        Returns:
            Names of the methods, the best of them first, and then of such controls.
        """
        return [name for name in self.rows if self.p_values.get(name, 0.0) >= 1.0 - confidence]

    def not_better_than_control(self, confidence: float) -> list[str]:
        """Return the methods that are not significantly better than the best control.

        Args:
            confidence: Confidence level of the test, in (0, 1).

        Returns:
            Names of the methods, the best of them first; empty without controls.
        """
        p_values = self.control_p_values
        return [name for name in self.order if p_values.get(name, 0.0) >= 1.0 - confidence]


def rank(methods: Sequence[MethodValues], score: Score, resampling: Resampling) -> Ranking | None:
    """Rank methods by a score, with paired permutation tests against the best and the controls.

    Args:
        methods: Values of the methods.
        score: The score to rank by.
        resampling: Settings of the tests; permutations are added where Holm's correction needs
            smaller p-values than they can give.

    Returns:
        The ranking; None if no method has the score.
    """
    values = align_images(methods, score.columns)

    def permuted(first: int, others: Sequence[int], hypotheses: int) -> Float64Array:
        needed = math.ceil(2 * hypotheses / (1.0 - resampling.confidence))
        refined = replace(resampling, permutations=max(resampling.permutations, needed))
        chosen = values[list(others)]
        return permutation_p_values(values[first], chosen, score.from_means, refined)

    return ranking_of(
        [method.name for method in methods],
        [method.is_control for method in methods],
        score,
        np.array([score.from_means(means(one))[0] for one in values]),
        permuted,
    )


def ranking_of(
    names: Sequence[str],
    controls: Sequence[bool],
    score: Score,
    found: Float64Array,
    test: PairTest,
) -> Ranking | None:
    """Rank methods whose scores are known.

    Args:
        names: Names of the methods, [M].
        controls: Whether each of them is a control, [M].
        score: The score.
        found: The scores, [M]; NaN for a method without the score.
        test: The test of differences.

    Returns:
        The ranking with Holm-corrected p-values; None if no method has the score.
    """
    order = np.argsort(-score.sign * found, kind="stable")  # NaN comes last.
    apart = np.array(controls)
    if not np.isfinite(found[~apart]).any():
        apart[:] = False
    ranked, last = order[~apart[order]], order[apart[order]]
    if np.isnan(found[ranked[0]]):
        return None
    with_score = [i for i in ranked if not np.isnan(found[i])]
    known = [i for i in last if not np.isnan(found[i])]
    others = [*with_score[1:], *known]
    # The data choose the best method, so any pair might have been tested: Holm counts them all.
    pairs = len(others) * (len(others) + 1) // 2
    p_values = holm_correction(test(ranked[0], others, pairs), pairs).tolist()
    against: dict[str, float] = {}
    if known:
        # The data choose the best control, so each of them might have been tested.
        hypotheses = len(with_score) * len(known)
        raw = test(known[0], with_score, hypotheses)
        better = score.sign * (found[with_score] - found[known[0]]) > 0
        against = {
            names[i]: p if is_better else 1.0
            for i, p, is_better in zip(
                with_score, holm_correction(raw, hypotheses).tolist(), better, strict=True
            )
        }
    return Ranking(
        score,
        [names[i] for i in ranked],
        [names[i] for i in last],
        {names[i]: p for i, p in zip(others, p_values, strict=True)},
        against,
    )


def method_values(run: StoredRun) -> list[MethodValues]:
    """Return the values of a run's methods, in the order of the run."""
    return [
        MethodValues(name, found.positions, found.values, name in run.controls)
        for name, found in run.methods.items()
    ]


def identify_by_name(method: MethodValues, names: Mapping[int, str]) -> MethodValues:
    """Return the values of a method with images identified by name, as several runs need.

    Args:
        method: Values of the method, with images identified by position.
        names: Names of the images by position.
    """
    images = np.array([names[int(position)] for position in method.images], dtype=object)
    return replace(method, images=images)


def align_images(methods: Sequence[MethodValues], columns: Sequence[str]) -> Float64Array:
    """Arrange the values of M methods on the n images that any of them has.

    Args:
        methods: Values of the methods.
        columns: Names of the K values.

    Returns:
        The values, [M, K, n]; NaN where a method has no value for an image.
    """
    images = np.unique(np.concatenate([method.images for method in methods]))
    values = np.full((len(methods), len(columns), len(images)), np.nan)
    for rows, method in zip(values, methods, strict=True):
        places = np.searchsorted(images, method.images)
        for row, name in zip(rows, columns, strict=True):
            if name in method.values:
                row[places] = method.values[name]
    return values
