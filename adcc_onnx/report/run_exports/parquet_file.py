"""Per-image values as a Parquet file, with the scores of the dataset in its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adcc_onnx.report.json_format import results_to_json
from adcc_onnx.results.evaluation_result import EvaluationResult

METADATA_KEY = b"adcc_onnx"
_TEXTS = ("model", "image", "method", "failure")
_INTEGERS = ("label", "target", "predicted")


def write_parquet(results: Sequence[EvaluationResult], out: Path) -> None:
    """Write one row per run, image and method.

    Args:
        results: The results.
        out: The file. Its metadata holds the report in JSON under `METADATA_KEY`.
    """
    import pyarrow
    from pyarrow import parquet

    rows = [
        {"model": result.model, **row}
        for result in results
        for row in result.per_image(as_dataframe=False)
    ]
    last = ("degenerate", "failure")
    names = dict.fromkeys(name for row in rows for name in row)
    types = dict.fromkeys([*(n for n in names if n not in last), *last], pyarrow.float64())
    types |= dict.fromkeys(_TEXTS, pyarrow.string()) | dict.fromkeys(_INTEGERS, pyarrow.int64())
    types["degenerate"] = pyarrow.bool_()
    metadata = {METADATA_KEY: results_to_json(results).encode()}
    schema = pyarrow.schema(list(types.items()), metadata=metadata)
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), out)
