"""JSON: the contract other programs read. No times, no paths; equal runs give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adcc_onnx.report.summary import RunSummary


def to_json(runs: Sequence[RunSummary]) -> str:
    """All runs; fractions in [0, 1]."""
    return json.dumps({"runs": [_run(run) for run in runs]}, indent=2) + "\n"


def _run(run: RunSummary) -> dict[str, Any]:
    return {
        "model": run.model,
        "protocol": run.protocol,
        "layer": run.layer,
        "target": run.target,
        "images": run.images,
        "failed": run.failed,
        "top1": run.top1,
        "methods": {
            name: {**method.figures, "degenerate": method.degenerate, "failed": method.failed}
            for name, method in run.methods.items()
        },
    }
