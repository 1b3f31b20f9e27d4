"""Results of stored runs, and runs as arguments of the other functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.errors import OptionError
from adcc_onnx.results.evaluation_result import EvaluationResult, evaluation_results
from adcc_onnx.results.store import Store
from adcc_onnx.statistics.resampling import Resampling

Run = str | Path | EvaluationResult


@checked_arguments
def read_results(
    runs: str | Path | Sequence[str | Path], *, confidence: float = 0.95, seed: int = 0
) -> list[EvaluationResult]:
    """Read the results of stored runs, one per model.

    Args:
        runs: The SQLite files of runs.
        confidence: Confidence level of the intervals and tests, from 0.5 to 0.99.
        seed: Random seed of the bootstrap and the permutation tests.

    Returns:
        The results in the order of the files and of their runs.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: The confidence level is not allowed.
        StoreError: A file cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     out = Path(folder, "run.sqlite")
        ...     result = adcc.evaluate(classifier_path(), "drawings:2", "gradcam", out=out)
        ...     adcc.read_results(out) == [result]
        True
    """
    require_confidence(confidence)
    return results_of(runs, Resampling(confidence, seed))


def results_of(
    runs: Run | Sequence[Run], resampling: Resampling, all_pictures: bool = False
) -> list[EvaluationResult]:
    """Return the results of runs that are given as files or as results.

    Args:
        runs: The runs.
        resampling: Settings of the intervals and tests of runs that are read from files.
        all_pictures: Whether the results hold the pictures of all images.

    Returns:
        The results; a file may hold several.

    Raises:
        StoreError: A file cannot be read.
    """
    found: list[EvaluationResult] = []
    for run in as_list(runs):
        if isinstance(run, EvaluationResult):
            found.append(run)
            continue
        with Store.open(Path(run)) as store:
            found += evaluation_results(store, resampling, all_pictures)
    return found


def require_confidence(confidence: float) -> None:
    """Check a confidence level.

    Raises:
        OptionError: It is not allowed.
    """
    if not 0.5 <= confidence <= 0.99:
        raise OptionError(f"confidence must be from 0.5 to 0.99, not {confidence}")
