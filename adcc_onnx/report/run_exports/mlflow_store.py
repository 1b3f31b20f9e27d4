"""Runs in a local MLflow store: a run per model, and a nested run per method."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adcc_onnx.cams.method_registry import method_title
from adcc_onnx.report.json_format import results_to_json
from adcc_onnx.report.run_exports.field_names import field_names
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.evaluation_result import EvaluationResult

EXPERIMENT = "adcc-onnx"
DATABASE = "mlflow.db"
_SETTINGS = ("sha256", "protocol", "layer", "target", "seed", "images", "fill")


def write_mlflow(results: Sequence[EvaluationResult], out: Path) -> None:
    """Add runs to a store, which is created if it does not exist.

    Args:
        results: The results.
        out: The folder of the store: `mlflow.db` and `artifacts/`.
    """
    _disable_telemetry()
    tracking = importlib.import_module("mlflow.tracking")
    url = importlib.import_module("sqlalchemy.engine").URL
    out.mkdir(parents=True, exist_ok=True)
    database = url.create("sqlite", database=str((out / DATABASE).resolve()))
    client = tracking.MlflowClient(database.render_as_string())
    experiment = client.get_experiment_by_name(EXPERIMENT)
    place = (out / "artifacts").resolve().as_uri()
    number = (
        client.create_experiment(EXPERIMENT, artifact_location=place)
        if experiment is None
        else experiment.experiment_id
    )
    for result in results:
        _write_run(client, number, result)


def _write_run(client: Any, experiment: str, result: EvaluationResult) -> None:
    config = result.stored_run.config
    run = client.create_run(experiment, run_name=safe(result.model)).info.run_id
    for name in _SETTINGS:
        if name in config:
            client.log_param(run, name, safe(str(config[name])))
    client.log_metric(run, "images", result.images)
    client.log_metric(run, "failed", result.failed)
    if result.top1 is not None:
        client.log_metric(run, "top1", result.top1)
    client.log_text(run, results_to_json([result]), "report.json")
    for name in result.methods:
        _write_method(client, experiment, run, result, name)
    client.set_terminated(run)


def _write_method(
    client: Any, experiment: str, parent: str, result: EvaluationResult, name: str
) -> None:
    entities = importlib.import_module("mlflow.entities")
    method, now = result.methods[name], int(1000 * time.time())
    title = f"{result.model}: {method_title(name)}"
    tags = {"mlflow.parentRunId": parent}
    run = client.create_run(experiment, run_name=safe(title), tags=tags).info.run_id
    names = field_names([*method.scores, *method.curves])
    values = {names[score]: value for score, value in method.scores.items()}
    for score, (low, high) in method.intervals.items():
        values |= {f"{names[score]}.low": low, f"{names[score]}.high": high}
    values |= {"degenerate": method.degenerate, "failed": method.failed}
    metrics = [entities.Metric(key, float(value), now, 0) for key, value in values.items()]
    for curve, points in method.curves.items():
        key = f"{names[curve]}.curve"
        metrics += [entities.Metric(key, point, now, i) for i, point in enumerate(points)]
    control = name in result.stored_run.controls
    params = [
        entities.Param("model", safe(result.model)),
        entities.Param("method", safe(name)),
        entities.Param("control", str(control).lower()),
    ]
    client.log_batch(run, metrics=metrics, params=params)
    client.set_terminated(run)


def _disable_telemetry() -> None:
    """Keep MLflow from sending usage data, which it decides when it is imported."""
    if "mlflow" not in sys.modules:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
