"""Search for the preprocessing of a model: successive halving over the usual candidates.

All candidates run on few images, and those that are not clearly worse run on more (Jamieson and
Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016).
The pixel values are searched first, with the usual resizing; then the resizing, the crop and the
interpolation, with the best pixel values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import SourceError, first_reasons
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.explanation.samples import labeled_class
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.preprocessing_candidates import (
    Candidate,
    candidates_of_geometry,
    candidates_of_values,
    named_candidate,
)
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model
from adcc_onnx.statistics.paired_tests import holm_correction
from adcc_onnx.studies.preprocessing_check import CandidateResult, PreprocessingCheck, measure
from adcc_onnx.studies.preprocessing_criteria import Criterion, LabelCriterion, MirrorCriterion
from adcc_onnx.studies.preprocessing_trial import Trial, TrialScores

STAGES = 6
_FIRST_IMAGES = (12, 36)  # of the first stages; the last stage takes all
_CLEARLY_WORSE = 0.01  # the p-value below which a candidate is dropped after a stage
_MOST_VALUES, _MOST_GEOMETRIES = 8, 5  # candidates of the last stage
_SIGNIFICANT = 0.05

Scores = Mapping[Preprocessing, TrialScores]


def search_preprocessing(
    model: Model, source: Source, seed: int = 0, tracker: RunTracker | None = None
) -> PreprocessingCheck:
    """Find the preprocessing of a model.

    Args:
        model: The model; its own preprocessing is one of the candidates.
        source: Images that are not preprocessed. If half of them have a label of one of the
            model's classes, the labeled images are used; otherwise all images without labels.
        seed: Seed of the order in which the images are used.
        tracker: Receives the progress in `STAGES` stages.

    Returns:
        All candidates, the best one first.

    Raises:
        SourceError: The source holds preprocessed tensors, or no image can be decoded.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> from adcc_onnx.images.sources.open_images import open_source
        >>> model = adcc_onnx.load(classifier_path(), device="cpu")
        >>> search_preprocessing(model, open_source("drawings:12")).labeled
        True
    """
    if source.preprocessed:
        raise SourceError("ready tensors are preprocessed already: give the images themselves")
    tracker = tracker or RunTracker(model.name, STAGES, "stages")
    classes = [labeled_class(label, model) for label in source.labels]
    known = [position for position, label in enumerate(classes) if label is not None]
    labeled = 2 * len(known) >= len(source)
    criterion: Criterion = LabelCriterion(classes) if labeled else MirrorCriterion()
    trial = Trial(model, source, mirrored=not labeled)
    order = np.random.default_rng(seed).permutation(known if labeled else len(source))
    search = _Search(trial, criterion, order.tolist(), tracker)

    own = [] if model.preprocessing is None else [_own_candidate(model.preprocessing)]
    takes_bytes = model.classifier.image.dtype == ir.DataType.UINT8
    usual = candidates_of_values(model.size, model.classifier.channels, takes_bytes)
    best = search.best_of(_unique([*usual, *own]), own, _MOST_VALUES)
    search.best_of(_unique([best, *candidates_of_geometry(best), *own]), own, _MOST_GEOMETRIES)
    return search.result(model, own[0] if own else None)


def _own_candidate(steps: Preprocessing) -> Candidate:
    own = named_candidate("the card's values", replace(steps, decode="full"))
    return replace(own, usual=True)


def _unique(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates without those whose preprocessing is among the earlier ones."""
    return list({one.preprocessing: one for one in reversed(candidates)}.values())[::-1]


class _Search:
    """Finds the best of several candidates on more and more images.

    Args:
        trial: Runs the model.
        criterion: What candidates are ranked by.
        order: Positions of the images, in the order in which they are used.
        tracker: Receives the progress.
    """

    def __init__(
        self, trial: Trial, criterion: Criterion, order: Sequence[int], tracker: RunTracker
    ) -> None:
        self._trial, self._criterion, self._order = trial, criterion, order
        self._tracker = tracker
        self._candidates: dict[Preprocessing, Candidate] = {}
        # The scores of each candidate on the most images that it was run on.
        self._scores: dict[Preprocessing, TrialScores] = {}
        # The p-values with which candidates were dropped.
        self._dropped: dict[Preprocessing, float] = {}

    def best_of(
        self, candidates: Sequence[Candidate], kept: Sequence[Candidate], most: int
    ) -> Candidate:
        """Find the best candidate.

        Args:
            candidates: The candidates.
            kept: Candidates that run on all images, however bad they are.
            most: Number of candidates that run on all images, beside these.

        Returns:
            The best candidate.

        Raises:
            SourceError: No image can be decoded.
        """
        always = {one.preprocessing for one in kept}
        left = list(candidates)
        self._candidates.update({one.preprocessing: one for one in left})
        for count in self._counts():
            positions = sorted(self._order[:count])
            with self._tracker.part(1):
                scores = self._trial.scores([one.preprocessing for one in left], positions)
            self._tracker.advance(1)
            self._require_images(scores)
            self._keep(scores)
            if isinstance(self._criterion, LabelCriterion):
                self._criterion = self._criterion.with_best_offset(list(scores.values()))
            left = self._ranked(left, scores)
            limit = most if count > _FIRST_IMAGES[0] else len(left)
            left = self._survivors(left, scores, always, limit)
        return self._preferred(left)

    def _survivors(
        self,
        ranked: Sequence[Candidate],
        scores: Scores,
        always: set[Preprocessing],
        most: int,
    ) -> list[Candidate]:
        """Return the candidates that run on more images: those that are not clearly worse."""
        best, left = scores[ranked[0].preprocessing], []
        for place, one in enumerate(ranked):
            own = scores[one.preprocessing]
            if one.preprocessing in always or place == 0:
                left.append(one)
            elif place < most:
                p = self._criterion.p_value(best, own)
                if p < _CLEARLY_WORSE and not self._criterion.alike(best, own):
                    self._dropped[one.preprocessing] = p
                else:
                    left.append(one)
        return left

    def result(self, model: Model, given: Candidate | None) -> PreprocessingCheck:
        """Compare all candidates with the best one of those that ran on all images.

        Args:
            model: The model.
            given: The candidate that the model's card describes; None if there is none.
        """
        images = max(len(scores.positions) for scores in self._scores.values())
        ranked = self._ranked(list(self._candidates.values()), self._scores)
        complete = [one for one in ranked if self._images(one) == images]
        best = self._preferred(complete)
        complete.remove(best)
        others = [one for one in ranked if self._images(one) < images]
        p_values = [
            *holm_correction(np.array([self._p_value(best, one) for one in complete])).tolist(),
            *(self._dropped.get(one.preprocessing, self._p_value(best, one)) for one in others),
        ]
        offset = self._criterion.offset if isinstance(self._criterion, LabelCriterion) else 0
        found: list[CandidateResult] = []
        for one, p in zip([best, *complete, *others], [None, *p_values], strict=True):
            measured = measure(one, self._scores[one.preprocessing], self._criterion)
            fits = p is None or p >= _SIGNIFICANT or self._alike(best, one)
            found.append(replace(measured, p_value=p, fits=fits, given=_same(one, given)))
        order = sorted(range(len(found)), key=lambda i: (not found[i].fits, i))
        return PreprocessingCheck(
            model=model.name,
            layout=model.classifier.layout,
            images=images,
            labeled=isinstance(self._criterion, LabelCriterion),
            label_offset=offset,
            candidates=tuple(found[i] for i in order),
            passes=self._trial.passes,
            failed=len(self._trial.failures),
        )

    def _counts(self) -> Iterator[int]:
        """Return the numbers of images of the stages."""
        total = len(self._order)
        yield from (count for count in _FIRST_IMAGES if count < total)
        yield total

    def _images(self, one: Candidate) -> int:
        return len(self._scores[one.preprocessing].positions)

    def _keep(self, scores: Scores) -> None:
        for steps, own in scores.items():
            known = self._scores.get(steps)
            if known is None or len(known.positions) <= len(own.positions):
                self._scores[steps] = own

    def _ranked(self, candidates: Sequence[Candidate], scores: Scores) -> list[Candidate]:
        """Sort candidates, the best one first; equal ones stay in the order of the usual ones."""
        return sorted(
            candidates,
            key=lambda one: self._criterion.rank(scores[one.preprocessing]),
            reverse=True,
        )

    def _preferred(self, ranked: Sequence[Candidate]) -> Candidate:
        """Return the first usual candidate, unless the best one is significantly better."""
        best = ranked[0]
        for one in ranked:
            equal = one is best or self._alike(best, one)
            if one.usual and (equal or self._p_value(best, one) >= _SIGNIFICANT):
                return one
        return best

    def _p_value(self, best: Candidate, other: Candidate) -> float:
        first, second = (self._scores[one.preprocessing] for one in (best, other))
        return self._criterion.p_value(first, second)

    def _alike(self, best: Candidate, other: Candidate) -> bool:
        if self._images(best) != self._images(other):
            return False
        first, second = (self._scores[one.preprocessing] for one in (best, other))
        return self._criterion.alike(first, second)

    def _require_images(self, scores: Scores) -> None:
        if not any(len(one.positions) for one in scores.values()):
            reasons = first_reasons(self._trial.failures.values())
            raise SourceError(f"no image can be decoded: {reasons}")


def _same(one: Candidate, given: Candidate | None) -> bool:
    return given is not None and one.preprocessing == given.preprocessing
