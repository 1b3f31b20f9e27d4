"""The per-image values of a run, as records or as a pandas DataFrame."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

from adcc_onnx.errors import OptionError
from adcc_onnx.results.rows import ImageRow, StoredRun
from adcc_onnx.results.stopping_rule import recorded_rule

_IMAGE_KEYS = ("image", "label", "target", "predicted", "probability", "method")
_OUTCOME_KEYS = ("degenerate", "failure")
_NOT_COMPUTED = "not computed: its verdict was certain after fewer images"
# pandas types with a missing value: plain integers and booleans have none.
_DTYPES = {
    "image": "string", "label": "Int64", "target": "Int64", "predicted": "Int64",
    "probability": "float64", "method": "string", "degenerate": "boolean", "failure": "string",
}  # fmt: skip


def record_keys(value_columns: Sequence[str]) -> list[str]:
    """Return the keys of a per-image record, in order."""
    return [*_IMAGE_KEYS, *value_columns, *_OUTCOME_KEYS]


def per_image_records(
    run: StoredRun, image_rows: Sequence[ImageRow], value_columns: Sequence[str]
) -> list[dict[str, Any]]:
    """List the values of every image under every method.

    Args:
        run: The run.
        image_rows: Its images, in source order.
        value_columns: Names of the values.

    Returns:
        One record per image and method, in source order and then in the order of the methods.
        Pairs that an unfinished run has not reached are absent. In a run with a stopping rule,
        methods that were no longer computed have records without values.
    """
    stops = recorded_rule(run.config) is not None and run.complete
    outcomes = {name: _outcomes(run, name, value_columns) for name in run.methods}
    failed = {(failure.image, failure.method): failure.reason for failure in run.failures}
    nothing: dict[str, Any] = dict.fromkeys(value_columns)
    records = []
    for row in image_rows:
        for method, by_position in outcomes.items():
            reason = row.failure or failed.get((row.name, method))
            values = {**nothing, "degenerate": None} if reason else by_position.get(row.position)
            if values is None and stops:
                reason, values = _NOT_COMPUTED, {**nothing, "degenerate": None}
            if values is not None:
                records.append({**_image_record(row, method), **values, "failure": reason})
    return records


def to_dataframe(
    records: list[dict[str, Any]], value_columns: Sequence[str], required: bool | None
) -> Any:
    """Convert per-image records to a pandas DataFrame.

    Args:
        records: The records.
        value_columns: Names of the values.
        required: Whether pandas must be installed; otherwise the records are returned without it.

    Returns:
        The DataFrame, or the records.

    Raises:
        OptionError: The package pandas is required and not installed.
    """
    pandas = import_pandas()
    if pandas is None:
        if required:
            raise OptionError(
                "as_dataframe=True needs pandas: pip install pandas, or use as_dataframe=False"
            )
        return records
    frame = pandas.DataFrame.from_records(records, columns=record_keys(value_columns))
    return frame.astype({**dict.fromkeys(value_columns, "float64"), **_DTYPES})


def import_pandas() -> Any:
    """Return the package pandas; None if it is not installed."""
    try:
        return importlib.import_module("pandas")
    except ImportError:
        return None


def _image_record(row: ImageRow, method: str) -> dict[str, Any]:
    values = (row.name, row.label, row.target, row.predicted, row.probability, method)
    return dict(zip(_IMAGE_KEYS, values, strict=True))


def _outcomes(
    run: StoredRun, method: str, value_columns: Sequence[str]
) -> dict[int, dict[str, Any]]:
    """Return the values of a method by the positions of the images that it did not fail on."""
    found = run.methods[method]
    positions = found.positions.tolist()
    columns = [
        [None if math.isnan(value) else value for value in found.values[name].tolist()]
        if name in found.values
        else [None] * len(positions)
        for name in value_columns
    ]
    columns.append(found.degenerate.tolist())
    keys = (*value_columns, "degenerate")
    return {
        position: dict(zip(keys, values, strict=True))
        for position, *values in zip(positions, *columns, strict=True)
    }
