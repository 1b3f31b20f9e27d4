"""Which class activation map explains an ONNX image classifier faithfully?

>>> import adcc_onnx as adcc
>>> model = adcc.load("resnet50.onnx", preprocessing="torch")
>>> maps = adcc.explain(model, ["dog.jpg"], method="gradcam")     # [1, H, W] in [0, 1]
>>> result = adcc.evaluate(model, "photos/", methods=["gradcam", "scorecam"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from adcc_onnx.api import bake, evaluate, explain
    from adcc_onnx.cams.method import Method, Need
    from adcc_onnx.cams.method_registry import method
    from adcc_onnx.errors import AdccError
    from adcc_onnx.graph.programs.expose import expose
    from adcc_onnx.metrics.metric import Metric, MetricNeed
    from adcc_onnx.metrics.metric_registry import metric
    from adcc_onnx.model import load

# Resolved on first use: `import adcc_onnx` (and `adcc-onnx --help`) must not pay for onnxruntime.
_HOME = {
    "AdccError": "adcc_onnx.errors",
    "Method": "adcc_onnx.cams.method",
    "Metric": "adcc_onnx.metrics.metric",
    "MetricNeed": "adcc_onnx.metrics.metric",
    "Need": "adcc_onnx.cams.method",
    "bake": "adcc_onnx.api",
    "evaluate": "adcc_onnx.api",
    "explain": "adcc_onnx.api",
    "expose": "adcc_onnx.graph.programs.expose",
    "load": "adcc_onnx.api",
    "method": "adcc_onnx.cams.method_registry",
    "metric": "adcc_onnx.metrics.metric_registry",
}

__all__ = [
    "AdccError",
    "Method",
    "Metric",
    "MetricNeed",
    "Need",
    "__version__",
    "bake",
    "evaluate",
    "explain",
    "expose",
    "load",
    "method",
    "metric",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'adcc_onnx' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
