"""JSON: the contract other programs read. No times, no paths; equal runs give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adcc_onnx.report.rounding import rounded_all
from adcc_onnx.results.ranking import Ranking
from adcc_onnx.results.summary import MethodSummary, RunSummary
from adcc_onnx.statistics.resampling import Resampling


def to_json(runs: Sequence[RunSummary]) -> str:
    """All runs; fractions in [0, 1]."""
    return as_text({"runs": [_run(run) for run in runs]})


def as_text(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2) + "\n"


def resampling_record(resampling: Resampling) -> dict[str, Any]:
    """How intervals and tests were made, so that they can be made again."""
    return {**vars(resampling)}


def _run(run: RunSummary) -> dict[str, Any]:
    return {
        "model": run.model,
        "protocol": run.protocol,
        "layer": run.layer,
        "target": run.target,
        "images": run.images,
        "failed": run.failed,
        "top1": run.top1,
        "statistics": resampling_record(run.resampling),
        "ranking": None if run.ranking is None else _ranking(run, run.ranking),
        "methods": {name: _method(method) for name, method in run.methods.items()},
    }


def _ranking(run: RunSummary, ranking: Ranking) -> dict[str, Any]:
    return {
        "by": ranking.score.name,
        "order": ranking.order,
        "not_significantly_worse": ranking.not_told_apart(run.resampling.confidence),
    }


def _method(method: MethodSummary) -> dict[str, Any]:
    return {
        **method.scores,
        "degenerate": method.degenerate,
        "failed": method.failed,
        "interval": {name: rounded_all(ends) for name, ends in method.intervals.items()},
        "curves": method.curves,
    }
