"""Reports of runs, merging of runs, and overlays of maps on images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import adcc_onnx.report.overlay
from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.stored_results import Run, require_confidence
from adcc_onnx.errors import OptionError
from adcc_onnx.explanation.drawing_style import ALPHA, COLORMAP, DrawingStyle
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.report.overlay import Box, checked_box
from adcc_onnx.report.paper_table import TableLayout
from adcc_onnx.report.rendering import (
    PAPER_FORMATS,
    render,
    render_comparison,
    render_failures,
    render_per_image,
    render_results,
)
from adcc_onnx.report.table_layout import Display
from adcc_onnx.report.text_file import check_text_file, write_text_file
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.merging import merge_stores
from adcc_onnx.results.store import Store
from adcc_onnx.statistics.resampling import Resampling


@checked_arguments
def render_report(
    runs: Run | Sequence[Run],
    *,
    format: str = "table",
    compare: bool = False,
    by: str | None = None,
    failures: bool = False,
    per_image: bool = False,
    columns: str | Sequence[str] = (),
    caption: str = "",
    label: str = "",
    confidence: float = 0.95,
    seed: int = 0,
    width: int | None = None,
    color: bool = False,
) -> str:
    """Write a report of one or several runs.

    Args:
        runs: The SQLite files of runs, or results of `evaluate` (for the ranked report only).
        format: "table", "csv", "json", "html", "latex" or "markdown"; comparisons and failures
            have "table", "csv" and "json", and per-image values "csv" and "json".
        compare: Whether to compare all methods with the best one.
        by: Metric of the comparison; ADCC if None.
        failures: Whether to list all failures.
        per_image: Whether to list the values of every image.
        columns: Scores of a LaTeX or Markdown table, in the order of the columns; all if empty.
        caption: Caption of a LaTeX or Markdown table, written as it is.
        label: Label of a LaTeX table.
        confidence: Confidence level of the intervals and tests, from 0.5 to 0.99.
        seed: Random seed of the bootstrap and the permutation tests.
        width: Number of columns that a table must fit into, such as those of a terminal; None
            leaves out, shortens and wraps nothing.
        color: Whether a table has the colors of a terminal.

    Returns:
        The report, which ends with a newline.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: A format or metric does not exist, or options exclude each other.
        StoreError: A file cannot be read.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> result = adcc.evaluate(classifier_path(), "drawings:4", ["gradcam", "fakecam"])
        >>> print(adcc.render_report(result, format="csv").splitlines()[0][:40])
        model,protocol,method,average_drop,avera
    """
    if sum((compare, failures, per_image)) > 1:
        raise OptionError("compare, failures and per_image are different reports: choose one")
    if by is not None and not compare:
        raise OptionError("by is the metric of a comparison: set compare, too")
    if width is not None and width < 1:
        raise OptionError(f"width must be a positive number of columns, not {width}")
    other = compare or failures or per_image
    layout = _layout(format, other, as_list(columns), caption, label)
    require_confidence(confidence)
    given = as_list(runs)
    results = [run for run in given if isinstance(run, EvaluationResult)]
    settings, display = Resampling(confidence, seed), Display(width, color)
    if results:
        if len(results) < len(given) or other:
            raise OptionError("this report needs files: evaluate with out, and give the files")
        return render_results(results, format, layout, display)
    with ExitStack() as opened:
        stores = [opened.enter_context(Store.open(Path(path))) for path in given]
        if compare:
            return render_comparison(stores, format, by, settings, display)
        if failures:
            return render_failures(stores, format, display)
        if per_image:
            return render_per_image(stores, format, settings)
        return render(stores, format, settings, layout, display)


def _layout(
    format: str, other: bool, columns: Sequence[str], caption: str, label: str
) -> TableLayout | None:
    """Return the layout of a table for papers; None for the other formats."""
    if not other and format in PAPER_FORMATS:
        if label and format != "latex":
            raise OptionError(f"label is an option of the format latex, not of {format}")
        return TableLayout(columns, caption, label)
    if columns or caption or label:
        what = "this report" if other else f"format {format}"
        raise OptionError(
            f"columns, caption and label are options of the formats {' and '.join(PAPER_FORMATS)}, "
            f"not of {what}"
        )
    return None


@checked_arguments
def save_report(
    text: str, out: str | Path, *, force: bool = False, runs: str | Path | Sequence[str | Path] = ()
) -> Path:
    """Write a report to a file, in UTF-8; the file appears only when it is complete.

    Args:
        text: The report, as from `render_report`.
        out: The file.
        force: Whether an existing file may be replaced.
        runs: Files that are never replaced, such as the runs of the report.

    Returns:
        The file.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: The file exists and may not be replaced, or is one of the runs.
        StoreError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> from pathlib import Path
        >>> result = adcc.evaluate(classifier_path(), "drawings:2", "gradcam")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     text = adcc.render_report(result, format="csv")
        ...     print(adcc.save_report(text, Path(folder, "table.csv")).name)
        table.csv
    """
    check_text_file(Path(out), force, [Path(run) for run in as_list(runs)])
    write_text_file(Path(out), text)
    return Path(out)


@checked_arguments
def merge(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Join runs of the same models on other images or with other methods.

    Args:
        runs: The SQLite files of the runs, in the order of the joined images.
        out: The new SQLite file.

    Returns:
        The new file.

    Raises:
        TypeError: An argument has a wrong type.
        StoreError: A file cannot be read, two runs contradict each other, or `out` exists.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     parts = [Path(folder, f"{name}.sqlite") for name in ("center", "random")]
        ...     for part in parts:
        ...         _ = adcc.evaluate(classifier_path(), "drawings:2", part.stem, out=part)
        ...     print(adcc.merge(parts, Path(folder, "both.sqlite")).name)
        both.sqlite
    """
    merge_stores([Path(run) for run in runs], Path(out))
    return Path(out)


@checked_arguments
def overlay(
    image: str | Path | Image.Image | NDArray[Any],
    heatmap: NDArray[Any],
    *,
    alpha: float = ALPHA,
    colormap: str = COLORMAP,
    crop: Preprocessing | Sequence[float] | None = None,
) -> NDArray[np.uint8]:
    """Draw a map over its image.

    Every pixel is (1 - alpha) Y + alpha C, with the luminance Y of the image and the color C of the
    map. The image is drawn without its colors, so that every color is a value of the map.

    Args:
        image: A path, a PIL image or a uint8 array [H, W, 3].
        heatmap: The map [h, w] in [0, 1].
        alpha: Opacity of the map, from 0 to 1.
        colormap: Color map: "viridis", "cividis", "inferno", "magma" or "plasma", all of them
            perceptually uniform.
        crop: The region of the image that the map shows, to which the map is stretched; the image
            is dimmed outside. Either the preprocessing, such as `model.preprocessing`, or the edges
            (left, top, right, bottom) in pixels. None requires a map of the image's size.

    Returns:
        The overlay, uint8 RGB [H, W, 3], of the image's size.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: The map and the image do not have the same size, or the region leaves the image.
        OptionError: `alpha` is out of range, or there is no such color map.

    Example:
        >>> import numpy as np
        >>> import adcc_onnx as adcc
        >>> image = np.zeros((8, 8, 3), np.uint8)
        >>> adcc.overlay(image, np.linspace(0, 1, 64).reshape(8, 8)).shape
        (8, 8, 3)
        >>> steps = adcc.Preprocessing.preset("unit", (224, 224))
        >>> adcc.overlay(np.zeros((300, 400, 3), np.uint8), np.ones((224, 224)), crop=steps).shape
        (300, 400, 3)
    """
    source = as_source(image)
    if source.preprocessed or len(source) != 1:
        raise ValueError("image must be a single image: a path, a PIL image or uint8 [H, W, 3]")
    pixels = next(iter(source)).load()
    size = pixels.shape[:2]
    numbers = heatmap.ndim == 2 and heatmap.dtype.kind in "fiu" and heatmap.size > 0
    if not numbers or (crop is None and heatmap.shape != size):
        wanted = " x ".join(map(str, size))
        raise ValueError(
            f"heatmap must be numbers [H, W] of the image's size {wanted}, not {heatmap.dtype} "
            f"{list(heatmap.shape)}; give crop for the map of a region"
        )
    if not np.isfinite(heatmap).all():
        raise ValueError("heatmap holds NaN or infinite values")
    box: Box | None
    if isinstance(crop, Preprocessing):
        box = crop.crop_box((size[0], size[1]))
    else:
        box = None if crop is None else checked_box(crop, size)
    heat = heatmap.astype(np.float32)
    return adcc_onnx.report.overlay.overlay(pixels, heat, DrawingStyle(alpha, colormap), box)
