"""Export of stored runs to the formats of other tools."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.stored_results import Run, require_confidence, results_of
from adcc_onnx.errors import OptionError, StoreError, did_you_mean
from adcc_onnx.report.run_exports.fiftyone_dataset import write_fiftyone
from adcc_onnx.report.run_exports.hub_card import write_model_card
from adcc_onnx.report.run_exports.mlflow_store import write_mlflow
from adcc_onnx.report.run_exports.parquet_file import write_parquet
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.statistics.resampling import Resampling

RUN_FORMATS = ("parquet", "mlflow", "fiftyone", "model-card")
# The package that a format needs, which is also the extra of the format.
_PACKAGES = {"parquet": "pyarrow", "mlflow": "mlflow"}


@checked_arguments
def export_run(
    runs: Run | Sequence[Run],
    out: str | Path,
    *,
    to: str,
    images: str | Path | None = None,
    force: bool = False,
    confidence: float = 0.95,
    seed: int = 0,
) -> Path:
    """Write runs in the format of another tool.

    Args:
        runs: The SQLite files of runs, or results of `evaluate`.
        out: The new file (Parquet, model card) or folder (MLflow, FiftyOne). Runs are added to an
            existing MLflow folder.
        to: "parquet" (the values of every image), "mlflow" (a local store), "fiftyone" (a dataset
            with the maps) or "model-card" (a card of the Hugging Face Hub).
        images: Folder of the images for FiftyOne; the thumbnails of the run if None.
        force: Whether an existing file or FiftyOne dataset is replaced.
        confidence: Confidence level of the intervals, from 0.5 to 0.99.
        seed: Random seed of the bootstrap.

    Returns:
        The file or folder.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: The format does not exist or needs a package that is not installed, or the
            output exists.
        StoreError: A file cannot be read or written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> result = adcc.evaluate(classifier_path(), "drawings:4", "gradcam")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     card = adcc.export_run(result, Path(folder, "card.md"), to="model-card")
        ...     print(card.read_text("utf-8").splitlines()[1])
        model-index:
    """
    place = Path(out)
    _require_format(to)
    if images is not None and (to != "fiftyone" or not Path(images).is_dir()):
        raise OptionError(
            f"images must be an existing folder for the format fiftyone, not {images}"
        )
    require_confidence(confidence)
    files = [Path(run) for run in as_list(runs) if not isinstance(run, EvaluationResult)]
    _check_place(place, to, force, files)
    pictures = to == "fiftyone" and images is None
    results = results_of(runs, Resampling(confidence, seed), pictures)
    if not results:
        raise StoreError("there is no run to export")
    folder = None if images is None else Path(images)
    try:
        if to == "mlflow":
            write_mlflow(results, place)
        elif to == "fiftyone":
            _replaced(place, lambda new: write_fiftyone(results, new, folder))
        else:
            writer = write_parquet if to == "parquet" else write_model_card
            _replaced(place, lambda new: writer(results, new))
    except OSError as error:
        raise StoreError(f"cannot write {place}: {error.strerror or error}") from error
    return place


def _require_format(to: str) -> None:
    if to not in RUN_FORMATS:
        raise OptionError(
            f"there is no export format '{to}'{did_you_mean(to, RUN_FORMATS)} "
            f"(formats: {', '.join(RUN_FORMATS)})"
        )
    package = _PACKAGES.get(to)
    if package is not None and importlib.util.find_spec(package) is None:
        raise OptionError(f'the export to {to} needs {package}: pip install "adcc-onnx[{to}]"')


def _check_place(place: Path, to: str, force: bool, runs: Sequence[Path]) -> None:
    """Check that the output replaces nothing that it may not replace."""
    if to == "mlflow":
        if place.exists() and not place.is_dir():
            raise OptionError(f"{place} is not a folder: choose another name")
        return
    if not place.exists():
        return
    if any(run.exists() and place.samefile(run) for run in runs):
        raise OptionError(f"{place} is the run itself: choose another name")
    # Only a folder that this export wrote is replaced, so that a mistyped name deletes nothing.
    dataset = to == "fiftyone" and (place / "samples.json").is_file()
    if not dataset and place.is_dir() and (to != "fiftyone" or any(place.iterdir())):
        raise OptionError(f"{place} is a folder with other files: choose another name")
    if not force and not (to == "fiftyone" and place.is_dir() and not dataset):
        raise OptionError(f"{place} exists: choose another name, or replace it with --force")


def _replaced(place: Path, write: Callable[[Path], None]) -> None:
    """Write next to the output, and give it its name when it is complete."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name[:100]}.", dir=place.parent) as folder:
        new = Path(folder, "new")
        write(new)
        if place.is_dir():
            shutil.rmtree(place)
        new.replace(place)
