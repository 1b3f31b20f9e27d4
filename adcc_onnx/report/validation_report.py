"""The report of `adcc-onnx validate-metrics` as text and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from adcc_onnx.report.result_rows import FEW_IMAGES
from adcc_onnx.report.text_table import aligned_rows
from adcc_onnx.studies.metric_validation import MetricAssessment, Validation

_HEADER = ("metric", "tau", "95 % interval", "tau of references", "AUC", "Fake-CAM's rank")


def validation_to_text(found: Validation) -> str:
    """Write the true order of the maps, then the metrics, the best first."""
    truth = [[name, f"{value:.3f}"] for name, value in found.truth.items()]
    lines = [
        f"{found.images} drawings; {found.against} gives the true order of the maps:",
        *aligned_rows([["method", found.against], *truth], left=(0,)),
        "",
        "Agreement of each metric with the true order (Kendall's tau, of all maps and of reference "
        "methods only; AUC of separating reference methods from uninformative maps):",
        *aligned_rows([_HEADER, *(_row(one) for one in found.assessments)], left=(0,)),
    ]
    if found.images < FEW_IMAGES:
        lines.append(f"Only {found.images} images: intervals are unreliable below {FEW_IMAGES}.")
    return "\n".join(lines) + "\n"


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
