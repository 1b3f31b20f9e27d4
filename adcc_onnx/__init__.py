"""Evaluate which class activation map explains an ONNX image classifier faithfully.

Example:
    >>> import adcc_onnx as adcc
    >>> from adcc_onnx.drawings import classifier_path
    >>> model = adcc.load(classifier_path(), device="cpu")
    >>> explanations = adcc.explain(model, "drawings:4", method="gradcam")
    >>> explanations.maps.shape
    (4, 112, 112)
    >>> result = adcc.evaluate(model, "drawings:4", methods=["gradcam", "layercam"])
    >>> list(result.methods)
    ['gradcam', 'layercam', 'random', 'center']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from adcc_onnx.runtime.telemetry import disable_telemetry

__version__ = "0.1.0"

if TYPE_CHECKING:
    from adcc_onnx.api.checking import check
    from adcc_onnx.api.comparing import compare_models
    from adcc_onnx.api.costs import estimate_cost
    from adcc_onnx.api.demonstration import demo
    from adcc_onnx.api.evaluating import evaluate
    from adcc_onnx.api.explaining import SavedExplanations, explain, save_explanations
    from adcc_onnx.api.gating import gate
    from adcc_onnx.api.graphs import bake, expose, inspect, save_baked, save_exposed
    from adcc_onnx.api.installation import cheaper_precisions, doctor
    from adcc_onnx.api.measuring import benchmark, randomize, validate_metrics
    from adcc_onnx.api.models import load
    from adcc_onnx.api.reports import merge, overlay, render_report, save_report
    from adcc_onnx.api.reproducing import reproduce
    from adcc_onnx.api.run_exporting import export_run
    from adcc_onnx.api.stored_results import read_results
    from adcc_onnx.cams.method import Method, MethodContext, Need
    from adcc_onnx.cams.method_registry import list_methods, method
    from adcc_onnx.errors import (
        AdccError,
        AdccWarning,
        ClusterError,
        ControlFlowError,
        DeviceError,
        ExpressionError,
        ExternalDataError,
        GradientError,
        ImageError,
        InstallationError,
        InterruptedRunError,
        LayerShapeError,
        ModelError,
        NoClassScoresError,
        NoGradientPathError,
        NoGradientRuleError,
        NoImageInputError,
        NotAModelError,
        OptionError,
        OutOfMemoryError,
        PreprocessingError,
        SourceError,
        StoreError,
        UnknownLayerError,
    )
    from adcc_onnx.evaluation.evaluation_cost import EvaluationCost
    from adcc_onnx.explanation.explanations import Explanation, Explanations
    from adcc_onnx.exporting import export
    from adcc_onnx.images.preprocessing import Preprocessing
    from adcc_onnx.metrics.metric import Metric, MetricContext, MetricNeed
    from adcc_onnx.metrics.metric_registry import list_metrics, metric
    from adcc_onnx.model import Model
    from adcc_onnx.results.evaluation_result import EvaluationResult, MethodResult
    from adcc_onnx.results.quality_gate import GateResult
    from adcc_onnx.studies.model_comparison import ModelComparison
    from adcc_onnx.studies.reproduction import Reproduction

# onnxruntime reads its switch for telemetry at import, which every module of this package precedes.
disable_telemetry()

# The module of each public name, imported when the name is first used: `import adcc_onnx` and
# `adcc-onnx --help` stay fast.
_NAMES_BY_MODULE = {
    "api.checking": ("check",),
    "api.comparing": ("compare_models",),
    "api.costs": ("estimate_cost",),
    "api.demonstration": ("demo",),
    "api.evaluating": ("evaluate",),
    "api.explaining": ("SavedExplanations", "explain", "save_explanations"),
    "api.gating": ("gate",),
    "api.graphs": ("bake", "expose", "inspect", "save_baked", "save_exposed"),
    "api.installation": ("cheaper_precisions", "doctor"),
    "api.measuring": ("benchmark", "randomize", "validate_metrics"),
    "api.models": ("load",),
    "api.reports": ("merge", "overlay", "render_report", "save_report"),
    "api.reproducing": ("reproduce",),
    "api.run_exporting": ("export_run",),
    "api.stored_results": ("read_results",),
    "cams.method": ("Method", "MethodContext", "Need"),
    "cams.method_registry": ("list_methods", "method"),
    "errors": (
        "AdccError",
        "AdccWarning",
        "ClusterError",
        "ControlFlowError",
        "DeviceError",
        "ExpressionError",
        "ExternalDataError",
        "GradientError",
        "ImageError",
        "InstallationError",
        "InterruptedRunError",
        "LayerShapeError",
        "ModelError",
        "NoClassScoresError",
        "NoGradientPathError",
        "NoGradientRuleError",
        "NoImageInputError",
        "NotAModelError",
        "OptionError",
        "OutOfMemoryError",
        "PreprocessingError",
        "SourceError",
        "StoreError",
        "UnknownLayerError",
    ),
    "evaluation.evaluation_cost": ("EvaluationCost",),
    "explanation.explanations": ("Explanation", "Explanations"),
    "exporting": ("export",),
    "images.preprocessing": ("Preprocessing",),
    "metrics.metric": ("Metric", "MetricContext", "MetricNeed"),
    "metrics.metric_registry": ("list_metrics", "metric"),
    "model": ("Model",),
    "results.evaluation_result": ("MethodResult", "EvaluationResult"),
    "results.quality_gate": ("GateResult",),
    "studies.model_comparison": ("ModelComparison",),
    "studies.reproduction": ("Reproduction",),
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = [
    "AdccError",
    "AdccWarning",
    "ClusterError",
    "ControlFlowError",
    "DeviceError",
    "EvaluationCost",
    "EvaluationResult",
    "Explanation",
    "Explanations",
    "ExpressionError",
    "ExternalDataError",
    "GateResult",
    "GradientError",
    "ImageError",
    "InstallationError",
    "InterruptedRunError",
    "LayerShapeError",
    "Method",
    "MethodContext",
    "MethodResult",
    "Metric",
    "MetricContext",
    "MetricNeed",
    "Model",
    "ModelComparison",
    "ModelError",
    "Need",
    "NoClassScoresError",
    "NoGradientPathError",
    "NoGradientRuleError",
    "NoImageInputError",
    "NotAModelError",
    "OptionError",
    "OutOfMemoryError",
    "Preprocessing",
    "PreprocessingError",
    "Reproduction",
    "SavedExplanations",
    "SourceError",
    "StoreError",
    "UnknownLayerError",
    "__version__",
    "bake",
    "benchmark",
    "cheaper_precisions",
    "check",
    "compare_models",
    "demo",
    "doctor",
    "estimate_cost",
    "evaluate",
    "explain",
    "export",
    "export_run",
    "expose",
    "gate",
    "inspect",
    "list_methods",
    "list_metrics",
    "load",
    "merge",
    "method",
    "metric",
    "overlay",
    "randomize",
    "read_results",
    "render_report",
    "reproduce",
    "save_baked",
    "save_explanations",
    "save_exposed",
    "save_report",
    "validate_metrics",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'adcc_onnx' has no attribute {name!r}")
    return getattr(importlib.import_module(f"adcc_onnx.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
