"""What `validate-metrics` prints for people and for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from adcc_onnx.report.text_table import aligned_rows
from adcc_onnx.studies.metric_validation import MetricAssessment, Validation

_HEADER = ("metric", "tau", "95 % interval", "sound only", "told apart", "Fake-CAM's place")


def to_text(found: Validation) -> str:
    """The true order, then the metrics, the best first."""
    truth = [[name, f"{value:.3f}"] for name, value in found.truth.items()]
    lines = [
        f"{found.images} drawings; the truth is told by {found.against}:",
        *aligned_rows([["method", found.against], *truth], left=(0,)),
        "",
        "How each metric orders these maps (Kendall's tau with the true order; the share of pairs "
        "of a sound and a worthless map that it tells apart):",
        *aligned_rows([_HEADER, *(_row(one) for one in found.judgements)], left=(0,)),
    ]
    return "\n".join(lines) + "\n"


def to_json(found: Validation) -> str:
    """The same for programs; equal runs give equal bytes."""
    return json.dumps(asdict(found), indent=2) + "\n"


def _row(one: MetricAssessment) -> list[str]:
    low, high = one.interval
    return [
        one.metric,
        f"{one.agreement:+.2f}",
        f"{low:+.2f} to {high:+.2f}",
        f"{one.among_sound:+.2f}",
        f"{one.auc:.2f}",
        str(one.fakecam_place),
    ]
