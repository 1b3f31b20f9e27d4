"""The result of a search for the preprocessing of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.preprocessing_candidates import Candidate
from adcc_onnx.statistics.intervals import Interval
from adcc_onnx.statistics.proportions import wilson_interval
from adcc_onnx.studies.preprocessing_criteria import Criterion, LabelCriterion, MirrorCriterion
from adcc_onnx.studies.preprocessing_trial import TrialScores


@dataclass(frozen=True)
class CandidateResult:
    """What was measured with one candidate.

    Attributes:
        values: The name of the pixel values.
        geometry: How the image is resized and cropped.
        preprocessing: The preprocessing.
        images: Number of images that it was run on.
        top1: Top-1 accuracy in [0, 1]; None without labels.
        interval: Wilson's 95 % interval of the accuracy; None without labels.
        consistency: What a mirrored image says about the class predicted on the image itself, in
            nats (see `MirrorCriterion`); None with labels.
        confidence: Mean probability of the predicted class.
        entropy: Mean entropy of the class probabilities, in nats.
        p_value: P-value of the difference from the best candidate on the images of both, with
            Holm's correction for the candidates that ran on all images; for a candidate that was
            dropped earlier, of the difference from the best one at that time. None for the best
            one.
        fits: Whether it is the best one, or not significantly different from it.
        given: Whether it is the preprocessing of the card, or the one that was given.
    """

    values: str
    geometry: str
    preprocessing: Preprocessing
    images: int
    top1: float | None
    interval: Interval | None
    consistency: float | None
    confidence: float
    entropy: float
    p_value: float | None = None
    fits: bool = False
    given: bool = False

    @property
    def name(self) -> str:
        """The name of the candidate, such as "torch, resize 256, crop 224, bilinear"."""
        return f"{self.values}, {self.geometry}, {self.preprocessing.interpolation}"


@dataclass(frozen=True)
class PreprocessingCheck:
    """The result of a search for the preprocessing of a model.

    Attributes:
        model: The name of the model.
        layout: Layout of the model's input, "NCHW" or "NHWC".
        images: Number of images of the last stage.
        labeled: Whether labels decided.
        label_offset: What must be added to the index of a label to find its class: 0, or 1 or -1
            if the labels are shifted.
        candidates: All candidates, the best one first, and those that fit before those that do not.
        passes: Number of images that were run through the model, of all candidates together.
        failed: Number of images that could not be decoded.
    """

    model: str
    layout: str
    images: int
    labeled: bool
    label_offset: int
    candidates: tuple[CandidateResult, ...]
    passes: int
    failed: int = 0

    @property
    def best(self) -> CandidateResult:
        """The best candidate."""
        return self.candidates[0]

    @property
    def given(self) -> CandidateResult | None:
        """The preprocessing of the card, or the one that was given; None if there is none."""
        return next((one for one in self.candidates if one.given), None)


def measure(candidate: Candidate, scores: TrialScores, criterion: Criterion) -> CandidateResult:
    """Summarize the scores of a candidate.

    Args:
        candidate: The candidate.
        scores: Its scores.
        criterion: What the candidates are ranked by.

    Returns:
        The result without a comparison to the best candidate.
    """
    log_p = scores.log_probabilities
    p = np.exp(log_p)
    top1, interval, consistency = None, None, None
    if isinstance(criterion, LabelCriterion):
        correct = criterion.correct(scores)
        top1 = float(correct.mean())
        interval = wilson_interval(int(correct.sum()), len(correct))
    elif isinstance(criterion, MirrorCriterion):
        consistency = float(criterion.consistency(scores).mean())
    return CandidateResult(
        values=candidate.values,
        geometry=candidate.geometry,
        preprocessing=candidate.preprocessing,
        images=len(scores.positions),
        top1=top1,
        interval=interval,
        consistency=consistency,
        confidence=float(p.max(axis=1).mean()),
        entropy=float(-(p * log_p).sum(axis=1).mean()),
    )
