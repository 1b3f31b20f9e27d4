"""The report of `adcc-onnx validate-metrics` as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from adcc_onnx.report.result_rows import FEW_IMAGES
from adcc_onnx.report.table_layout import PLAIN, Column, Display, Table
from adcc_onnx.report.text_table import table_lines, text_lines
from adcc_onnx.studies.metric_validation import MetricAssessment, Validation

_HEADER = ("metric", "tau", "95 % interval", "tau of references", "AUC", "Fake-CAM's rank")


def validation_to_text(found: Validation, display: Display = PLAIN) -> str:
    """Write the true order of the maps, then the metrics, the best first.

    Args:
        found: The validation.
        display: Where the text is shown.
    """
    order = f"{found.images} drawings; {found.against} gives the true order of the maps:"
    agreement = (
        "Agreement of each metric with the true order (Kendall's tau, of all maps and of reference "
        "methods only; AUC of separating reference methods from uninformative maps):"
    )
    few = f"Only {found.images} images: intervals are unreliable below {FEW_IMAGES}."
    truth = [[name, f"{value:.3f}"] for name, value in found.truth.items()]
    lines = [
        *text_lines([order], display, "title"),
        *_table(["method", found.against], truth, display),
        "",
        *text_lines([agreement], display, "title"),
        *_table(_HEADER, [_row(one) for one in found.assessments], display),
        *text_lines([few] if found.images < FEW_IMAGES else [], display, "warning"),
    ]
    return "\n".join(lines) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], display: Display) -> list[str]:
    columns = [
        Column(heading, left=not i, names=not i, drop=max(0, i - 2))
        for i, heading in enumerate(header)
    ]
    return table_lines(Table(columns, rows), display)


def validation_to_json(found: Validation) -> str:
    """Write the validation as JSON; equal runs give equal bytes."""
    return json.dumps(asdict(found), indent=2) + "\n"


def _row(one: MetricAssessment) -> list[str]:
    low, high = one.interval
    return [
        one.metric,
        f"{one.agreement:+.2f}",
        f"{low:+.2f} to {high:+.2f}",
        f"{one.reference_agreement:+.2f}",
        f"{one.auc:.2f}",
        str(one.fakecam_rank),
    ]
