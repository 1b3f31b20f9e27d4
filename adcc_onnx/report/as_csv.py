"""CSV: one row a run and method; fractions in [0, 1]."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from adcc_onnx.report.summary import RunSummary

_COUNTS = ("images", "failed", "degenerate", "failed_by_method")


def to_csv(runs: Sequence[RunSummary]) -> str:
    """All runs, with a header; a figure that a run lacks stays empty."""
    methods = [method for run in runs for method in run.methods.values()]
    figures = list(dict.fromkeys(name for method in methods for name in method.figures))
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["model", "protocol", "method", *figures, *_COUNTS], lineterminator="\n"
    )
    writer.writeheader()
    for run in runs:
        for name, method in run.methods.items():
            counts = (run.images, run.failed, method.degenerate, method.failed)
            writer.writerow(
                {
                    "model": run.model,
                    "protocol": run.protocol,
                    "method": name,
                    **method.figures,
                    **dict(zip(_COUNTS, counts, strict=True)),
                }
            )
    return text.getvalue()
