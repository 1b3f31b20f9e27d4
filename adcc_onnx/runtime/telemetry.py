"""Switching off the telemetry of onnxruntime before the library is imported."""

from __future__ import annotations

import os
import sys
import warnings

VARIABLE = "ORT_DISABLE_TELEMETRY"


def disable_telemetry() -> None:
    """Set the environment variable that keeps onnxruntime from sending usage events.

    onnxruntime reads the variable once, when it is imported. A value that the user set stays, and
    subprocesses inherit the variable.

    Warns:
        AdccWarning: onnxruntime was imported before, without the variable.
    """
    if VARIABLE in os.environ:
        return
    os.environ[VARIABLE] = "1"
    if "onnxruntime" in sys.modules:
        from adcc_onnx.errors import AdccWarning

        warnings.warn(
            "onnxruntime was imported before adcc_onnx and may send usage events to its vendor: "
            f"import adcc_onnx first, or set {VARIABLE}=1 in the environment",
            AdccWarning,
            stacklevel=2,
        )
