"""Gates for continuous integration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.stored_results import Run, require_confidence, results_of
from adcc_onnx.errors import OptionError, StoreError
from adcc_onnx.report.gate_formats import gate_result, gate_to_junit
from adcc_onnx.report.text_file import check_text_file, write_text_file
from adcc_onnx.results.quality_gate import GateResult, check_requirements, compare_with_baseline
from adcc_onnx.results.requirements import parse_requirement
from adcc_onnx.statistics.resampling import Resampling


@checked_arguments
def gate(
    runs: Run | Sequence[Run],
    *,
    require: str | Sequence[str] = (),
    not_worse_than: Run | None = None,
    by: str | None = None,
    margin: float = 0.0,
    confidence: float = 0.95,
    seed: int = 0,
    junit: str | Path | None = None,
) -> GateResult:
    """Check runs against bounds and against a baseline run.

    Args:
        runs: The SQLite files of runs, or results of `evaluate`.
        require: Bounds on scores, such as "gradcam.adcc >= 0.70"; scores are fractions.
        not_worse_than: The baseline run. A method fails if its score is significantly worse than
            in the baseline, paired by image, by more than `margin`.
        by: Score of the comparison with the baseline; ADCC if None.
        margin: Loss against the baseline run that is accepted, as a fraction.
        confidence: Confidence level of the comparison, from 0.5 to 0.99; it is corrected for the
            number of methods.
        seed: Random seed of the bootstrap.
        junit: File for the checks as JUnit XML; an existing file is replaced.

    Returns:
        The checks; `passed` tells whether none failed.

    Raises:
        TypeError: An argument has a wrong type.
        ExpressionError: A requirement cannot be parsed.
        OptionError: A method or score does not exist, or nothing is to be checked.
        StoreError: A file cannot be read or written, or the runs are not comparable.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> result = adcc.evaluate(classifier_path(), "drawings:4", ["gradcam"])
        >>> adcc.gate(result, require="gradcam.coherency >= 0.5", not_worse_than=result).passed
        True
    """
    requirements = [parse_requirement(text) for text in as_list(require)]
    if not requirements and not_worse_than is None:
        raise OptionError("nothing to check: give require or not_worse_than")
    if not_worse_than is None and (by is not None or margin):
        raise OptionError("by and margin belong to not_worse_than: give a baseline run")
    if not 0.0 <= margin < float("inf"):
        raise OptionError(f"margin must be a difference of 0 or more, not {margin}")
    require_confidence(confidence)
    if junit is not None:
        given = [*as_list(runs), not_worse_than]
        files = [Path(one) for one in given if isinstance(one, str | Path)]
        check_text_file(Path(junit), True, files)
    settings = Resampling(confidence, seed)
    results = results_of(runs, settings)
    if not results:
        raise StoreError("there is no run to check")
    checked = check_requirements(results, requirements)
    compared = []
    if not_worse_than is not None:
        baselines = results_of(not_worse_than, settings)
        compared = compare_with_baseline(results, baselines, by, margin, settings)
    found = gate_result(checked, compared)
    if junit is not None:
        write_text_file(Path(junit), gate_to_junit(found))
    return found
