"""What speaks for a preprocessing: correct predictions, or predictions that a mirror keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.statistics.paired_tests import permutation_p_values
from adcc_onnx.statistics.proportions import mcnemar_p_value
from adcc_onnx.statistics.resampling import RealArray, Resampling
from adcc_onnx.studies.preprocessing_trial import TrialScores, log_softmax

_OFFSETS = (0, 1, -1)
_SMALL = 0.05  # difference in nats per image that is too small to matter
_LEAST_LOG_P = np.log(1e-9)  # a single image must not decide
# Temperatures at which the likelihood of labels is computed; the best one counts.
_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5.0), 17))


class Criterion(Protocol):
    """What speaks for a preprocessing."""

    def rank(self, scores: TrialScores) -> tuple[float, ...]:
        """Return what candidates are ranked by, the most important number first; more is better.

        Args:
            scores: The scores of a candidate.
        """

    def p_value(self, first: TrialScores, second: TrialScores) -> float:
        """Test whether two candidates differ on the images that both were run on.

        Args:
            first: The scores of one candidate.
            second: The scores of the other one, on a part of the same images or more.

        Returns:
            The p-value.
        """

    def alike(self, first: TrialScores, second: TrialScores) -> bool:
        """Whether two candidates are equally good for practical purposes.

        Args:
            first: The scores of one candidate.
            second: The scores of the other one on the same images.
        """


class LabelCriterion:
    """The labels of the images: top-1 accuracy, and then the likelihood of the labels.

    The likelihood is taken at the temperature at which it is largest, because wrong pixel values
    often change only how sure a network is.

    Args:
        classes: The class index of each image of the source; None without a label.
        offset: What is added to the index.
    """

    def __init__(self, classes: Sequence[int | None], offset: int = 0) -> None:
        self._classes = np.array([-2 if c is None else c for c in classes], np.int64)
        self.offset = offset

    def with_best_offset(self, scores: Sequence[TrialScores]) -> LabelCriterion:
        """Return the same labels with the offset of the index that explains the scores best.

        Args:
            scores: The scores of several candidates, of which the best one counts.
        """
        known = [None if c < 0 else int(c) for c in self._classes]
        options = [LabelCriterion(known, offset) for offset in _OFFSETS]
        return max(options, key=lambda one: max(one.correct(s).mean() for s in scores))

    def correct(self, scores: TrialScores) -> NDArray[np.bool_]:
        """Return whether each image is classified correctly, [n].

        Args:
            scores: The scores of a candidate.
        """
        found: NDArray[np.bool_] = scores.predicted == self._targets(scores)
        return found

    def likelihood(self, scores: TrialScores) -> RealArray:
        """Return the log-probability of each image's label at the best temperature, [n].

        Args:
            scores: The scores of a candidate.
        """
        targets, rows = self._targets(scores), np.arange(len(scores.positions))
        inside = (targets >= 0) & (targets < scores.logits.shape[1])
        chosen = np.where(inside, targets, 0)
        values = []
        for temperature in _TEMPERATURES:
            found = log_softmax(scores.logits / np.float32(temperature))[rows, chosen]
            values.append(np.where(inside, found, -np.log(scores.logits.shape[1])))
        best: RealArray = max(values, key=lambda one: one.mean())
        return best

    def rank(self, scores: TrialScores) -> tuple[float, ...]:
        """Return the top-1 accuracy and the mean log-likelihood."""
        return float(self.correct(scores).mean()), float(self.likelihood(scores).mean())

    def p_value(self, first: TrialScores, second: TrialScores) -> float:
        """Return the p-value of two tests, of the accuracy and of the likelihood (Bonferroni)."""
        right = _paired(first, second, self.correct(first), self.correct(second))
        likely = _paired(first, second, self.likelihood(first), self.likelihood(second))
        return min(1.0, 2.0 * min(mcnemar_p_value(*right), _permutation_p_value(*likely)))

    def alike(self, first: TrialScores, second: TrialScores) -> bool:
        """Whether the accuracy is equal and the likelihood nearly so."""
        (one, likelihood), (other, another) = self.rank(first), self.rank(second)
        return one == other and abs(likelihood - another) < _SMALL

    def _targets(self, scores: TrialScores) -> NDArray[np.int64]:
        return self._classes[scores.positions] + self.offset


class MirrorCriterion:
    """How well a mirrored image predicts the class that is predicted on the image itself.

    A network that gets what it was trained on is sure of its prediction, and predicts the same for
    the mirrored image. Wrong pixel values make predictions unsure, or sure and different. The
    entropy of the predicted classes is added, so that predicting one class for all images counts
    nothing: the sum is a lower bound of the mutual information of both (Barber and Agakov, The IM
    Algorithm, NeurIPS 2003).
    """

    def consistency(self, scores: TrialScores) -> RealArray:
        """Return the information that each image contributes, averaged over both views, [n].

        Args:
            scores: The scores of a candidate, also of the mirrored images.

        Returns:
            log q(c) - log f(c) in nats, where c is the class predicted on one view, q its
            probability on the other view, and f its frequency among all images.
        """
        rows, total = np.arange(len(scores.positions)), np.zeros(len(scores.positions))
        views = log_softmax(scores.logits), log_softmax(scores.mirrored)
        for one, other in (views, views[::-1]):
            predicted = one.argmax(axis=1)
            frequency = np.bincount(predicted, minlength=one.shape[1])[predicted] / len(rows)
            total += np.maximum(other[rows, predicted], _LEAST_LOG_P) - np.log(frequency)
        return total / 2.0

    def rank(self, scores: TrialScores) -> tuple[float, ...]:
        """Return the mean consistency."""
        return (float(self.consistency(scores).mean()),)

    def p_value(self, first: TrialScores, second: TrialScores) -> float:
        """Return the p-value of a paired permutation test."""
        values = _paired(first, second, self.consistency(first), self.consistency(second))
        return _permutation_p_value(*values)

    def alike(self, first: TrialScores, second: TrialScores) -> bool:
        """Whether the consistency is nearly equal."""
        return abs(self.rank(first)[0] - self.rank(second)[0]) < _SMALL


def _permutation_p_value(first: RealArray, second: RealArray) -> float:
    """Test whether the means of two candidates differ on the same images."""
    found = permutation_p_values(first[None], second[None, None], lambda m: m[0], Resampling())
    return float(found[0])


def _paired(
    first: TrialScores, second: TrialScores, one: NDArray[Any], other: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the values of the images that both candidates were run on."""
    _, left, right = np.intersect1d(first.positions, second.positions, return_indices=True)
    return one[left], other[right]
