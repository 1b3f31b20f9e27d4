"""A gate for continuous integration: bounds on scores, and no score worse than in another run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from adcc_onnx.errors import OptionError, StoreError, did_you_mean
from adcc_onnx.results.anchored_difference import anchored_difference
from adcc_onnx.results.comparison import require_comparable
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.pairwise import score_difference
from adcc_onnx.results.ranking import (
    MethodValues,
    align_images,
    identify_by_name,
    method_values,
)
from adcc_onnx.results.requirements import Requirement, score_of
from adcc_onnx.results.score_definitions import Score, main_score
from adcc_onnx.statistics.intervals import Interval
from adcc_onnx.statistics.paired_tests import PairedDifference
from adcc_onnx.statistics.resampling import Resampling

Outcome = Literal["passed", "failed", "skipped"]
# Replicates in each tail of an interval: fewer make its ends depend on the seed.
_TAIL_REPLICATES = 25


@dataclass(frozen=True)
class RequirementCheck:
    """The check of a bound on a score.

    Attributes:
        model: Name of the model.
        requirement: The requirement.
        score: The score.
        value: Value of the score; None if no image counts.
        outcome: "passed" or "failed"; a score without a value fails.
        interval: Interval of a score that the run only estimates, because it stopped early or has
            anchors. The whole interval must meet the requirement. None for other runs.
    """

    model: str
    requirement: Requirement
    score: Score
    value: float | None
    outcome: Outcome
    interval: Interval | None = None


@dataclass(frozen=True)
class BaselineCheck:
    """The comparison of a method with the same method in a baseline run, paired by image.

    Attributes:
        model: Name of the model.
        method: Name of the method.
        score: The score that is compared.
        margin: The largest difference to the worse that passes.
        confidence: Confidence level of `difference`, corrected for the number of methods.
        difference: Difference from the baseline on the images that both runs scored, with its
            interval; None if there is no baseline for the method.
        only_in_baseline: Number of images that only the baseline run scored.
        outcome: "failed" if the whole interval is worse than the margin; "skipped" if the
            difference cannot be tested.
    """

    model: str
    method: str
    score: Score
    margin: float
    confidence: float
    difference: PairedDifference | None
    only_in_baseline: int
    outcome: Outcome


@dataclass(frozen=True)
class GateResult:
    """The result of a gate.

    Attributes:
        requirements: The checks of bounds on scores.
        comparisons: The comparisons with the baseline run.
        lines: One readable line per check, in the same order.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> result = adcc.evaluate(classifier_path(), "drawings:4", ["gradcam"])
        >>> found = adcc.gate(result, require=["gradcam.coherency >= 0.99"])
        >>> found.passed, len(found.failures)
        (False, 1)
    """

    requirements: list[RequirementCheck]
    comparisons: list[BaselineCheck]
    lines: list[str]

    @property
    def checks(self) -> list[RequirementCheck | BaselineCheck]:
        """All checks, in the order of `lines`."""
        return [*self.requirements, *self.comparisons]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> list[str]:
        """The lines of the checks that failed."""
        pairs = zip(self.checks, self.lines, strict=True)
        return [line for check, line in pairs if check.outcome == "failed"]


def check_requirements(
    results: Sequence[EvaluationResult], requirements: Sequence[Requirement]
) -> list[RequirementCheck]:
    """Check bounds on scores.

    Args:
        results: Results of runs; each requirement applies to every run.
        requirements: The requirements.

    Returns:
        One check per run and requirement.

    Raises:
        OptionError: A run has no such method or score, or a bound lies outside a score's range.
    """
    found = []
    for result in results:
        for one in requirements:
            score = score_of(one, result)
            value = result.methods[one.method].scores.get(one.score)
            interval = result.estimated_interval(one.method, one.score)
            ends = [value] if interval is None else interval
            met = all(end is not None and one.holds(end) for end in ends)
            outcome: Outcome = "passed" if met else "failed"
            found.append(RequirementCheck(result.model, one, score, value, outcome, interval))
    return found


def compare_with_baseline(
    results: Sequence[EvaluationResult],
    baselines: Sequence[EvaluationResult],
    by: str | None,
    margin: float,
    resampling: Resampling,
) -> list[BaselineCheck]:
    """Test whether methods score worse than in a baseline run by more than a margin.

    A method is worse if its whole confidence interval of the difference, paired by image, lies
    beyond the margin. The confidence level is Bonferroni-corrected for the number of methods.

    Args:
        results: Results of runs.
        baselines: Results of the baseline runs; runs of the same model are compared, or two single
            runs.
        by: Score to compare by; None takes ADCC, or the first score without it.
        margin: Largest difference to the worse that passes, in the unit of the score.
        resampling: Settings of the intervals.

    Returns:
        One check per run and method; controls are not compared.

    Raises:
        OptionError: A run does not have the score.
        StoreError: The runs are not comparable, a run stopped early, or they have fewer than two
            images in common.
    """
    found: list[BaselineCheck] = []
    for result in results:
        baseline = _baseline_of(result, baselines)
        _require_all_images(result)
        _require_all_images(baseline)
        require_comparable([baseline.stored_run, result.stored_run])
        score = _score(by, result, baseline)
        found += _compare(result, baseline, score, margin, resampling)
    return found


def _baseline_of(
    result: EvaluationResult, baselines: Sequence[EvaluationResult]
) -> EvaluationResult:
    same = [one for one in baselines if one.model == result.model]
    if not same and len(baselines) != 1:
        known = [one.model for one in baselines]
        raise StoreError(
            f"the baseline has no run of {result.model}{did_you_mean(result.model, known)} "
            f"(runs: {', '.join(known) or 'none'})"
        )
    return (same or list(baselines))[0]


def _require_all_images(result: EvaluationResult) -> None:
    found = result.sequential
    if found is not None and not found.is_whole:
        raise StoreError(
            f"the run of {result.model} stopped after {found.images} of {found.population} images "
            f"(--until {found.rule.until}), so its difference from another run has no valid "
            "interval: evaluate without --until, or use --require, which takes the run's own "
            "intervals"
        )


def _score(by: str | None, result: EvaluationResult, baseline: EvaluationResult) -> Score:
    shared = {
        name: score
        for name, score in result.score_definitions.items()
        if name in baseline.score_definitions
    }
    if by is not None and by not in shared:
        raise OptionError(
            f"the two runs of {result.model} have no common score '{by}'"
            f"{did_you_mean(by, shared)} (scores: {', '.join(shared)})"
        )
    if not shared:
        raise StoreError(f"the two runs of {result.model} have no metric in common")
    return main_score(shared) if by is None else shared[by]


def _compare(
    result: EvaluationResult,
    baseline: EvaluationResult,
    score: Score,
    margin: float,
    resampling: Resampling,
) -> list[BaselineCheck]:
    new, old = _by_name(result), _by_name(baseline)
    names = [name for name in new if name not in result.stored_run.controls] or list(new)
    tested = corrected_for(resampling, sum(name in old for name in names))
    found = []
    for name in names:
        difference, lost = (
            _difference(new[name], old[name], score, tested) if name in old else (None, 0)
        )
        if difference is not None and (result.anchors or baseline.anchors):
            one, other = ((r.stored_run, r.image_names) for r in (result, baseline))
            difference = anchored_difference(one, other, name, score, tested.confidence)
        outcome = _outcome(difference, score, margin)
        found.append(
            BaselineCheck(
                result.model, name, score, margin, tested.confidence, difference, lost, outcome
            )
        )
    if not any(check.difference and check.difference.images > 1 for check in found):
        raise StoreError(
            f"{result.model} cannot be compared with the baseline: no method has two scored images "
            "in common with it"
        )
    return found


def _by_name(result: EvaluationResult) -> Mapping[str, MethodValues]:
    """Return the values of each method, with images identified by name."""
    methods = method_values(result.stored_run)
    return {method.name: identify_by_name(method, result.image_names) for method in methods}


def corrected_for(resampling: Resampling, tests: int) -> Resampling:
    """Return settings whose intervals hold together for a number of tests (Bonferroni).

    Args:
        resampling: The settings of one interval.
        tests: The number of tests.
    """
    error = (1.0 - resampling.confidence) / max(1, tests)
    needed = math.ceil(2 * _TAIL_REPLICATES / error)
    return replace(
        resampling, confidence=1.0 - error, replicates=max(resampling.replicates, needed)
    )


def _difference(
    new: MethodValues, old: MethodValues, score: Score, resampling: Resampling
) -> tuple[PairedDifference | None, int]:
    """Return the difference on the common images, and how many images only `old` has."""
    first, second = align_images([new, old], score.columns)
    missing, before = np.isnan(first).any(axis=0), ~np.isnan(second).any(axis=0)
    lost = int((before & missing).sum())
    if not (before & ~missing).any():
        return None, lost
    return score_difference(first, second, score, resampling), lost


def _outcome(difference: PairedDifference | None, score: Score, margin: float) -> Outcome:
    if difference is None or difference.interval is None:
        return "skipped"
    # The best end of the interval in the direction of better scores.
    best = max(score.sign * end for end in difference.interval)
    return "failed" if best < -margin else "passed"
