"""Results as JSON, without times and paths: equal runs give equal bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from adcc_onnx.report.rounding import rounded, rounded_all
from adcc_onnx.results.anchored_estimates import Anchors
from adcc_onnx.results.evaluation_result import EvaluationResult, MethodResult
from adcc_onnx.results.ranking import Ranking
from adcc_onnx.results.sequential_summary import SequentialSummary, Standing
from adcc_onnx.statistics.resampling import Resampling


def results_to_json(results: Sequence[EvaluationResult]) -> str:
    """Write all results; fractions in [0, 1]."""
    return json_text({"runs": [_run(result) for result in results]})


def json_text(content: dict[str, Any]) -> str:
    """Write an object as indented JSON that ends in a newline."""
    return json.dumps(content, indent=2) + "\n"


def resampling_record(resampling: Resampling) -> dict[str, Any]:
    """Return the settings that reproduce the confidence intervals and tests."""
    return {**vars(resampling)}


def _run(result: EvaluationResult) -> dict[str, Any]:
    return {
        "model": result.model,
        "protocol": result.protocol,
        "layer": result.layer,
        "target": result.target,
        **_differentiated(result),
        "images": result.images,
        "failed": result.failed,
        "top1": result.top1,
        "warnings": result.warnings,
        "statistics": resampling_record(result.resampling),
        **_budget(result),
        **({} if result.sequential is None else {"stopping": _stopping(result.sequential)}),
        **({} if result.anchors is None else {"anchors": _anchors(result.anchors)}),
        "ranking": None if result.ranking is None else _ranking(result, result.ranking),
        "methods": {name: _method(method) for name, method in result.methods.items()},
    }


def _differentiated(result: EvaluationResult) -> dict[str, Any]:
    """Return the scores that gradients refer to, if these are not the logits."""
    config = result.stored_run.config
    return {key: config[key] for key in ("differentiated",) if key in config}


def _budget(result: EvaluationResult) -> dict[str, Any]:
    """Return what a budget chose, if there was one."""
    config = result.stored_run.config
    return {"budget": config["budget"]} if "budget" in config else {}


def _anchors(found: Anchors) -> dict[str, Any]:
    return {
        "images": found.images,
        "precision": found.precision,
        "methods": {
            name: {"uncorrected": found.cheap[name], "correction": found.corrections[name]}
            for name in found.cheap
        },
    }


def _stopping(found: SequentialSummary) -> dict[str, Any]:
    return {
        **found.rule.record(found.population),
        "used_images": found.images,
        "stopped": found.stopped,
        "leader": found.leader,
        "methods": {name: _standing(one) for name, one in found.standings.items()},
    }


def _standing(standing: Standing) -> dict[str, Any]:
    known = not math.isnan(standing.difference)
    return {
        "verdict": standing.verdict,
        "images": standing.images,
        "difference": rounded(standing.difference) if known else None,
        "interval": rounded_all(standing.interval) if known else None,
        "p_value": rounded(standing.p_value),
    }


def _ranking(result: EvaluationResult, ranking: Ranking) -> dict[str, Any]:
    return {
        "by": ranking.score.name,
        "order": ranking.order,
        "controls": ranking.controls,
        "not_significantly_worse": result.not_significantly_worse,
        "not_better_than_control": result.not_better_than_control,
    }


def _method(method: MethodResult) -> dict[str, Any]:
    return {
        **method.scores,
        "degenerate": method.degenerate,
        "failed": method.failed,
        "interval": {name: rounded_all(ends) for name, ends in method.intervals.items()},
        "curves": method.curves,
    }
