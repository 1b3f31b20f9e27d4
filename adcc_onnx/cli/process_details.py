"""What `--verbose` says of the process: the versions, and the largest memory."""

from __future__ import annotations

import platform
import sys

from adcc_onnx import __version__
from adcc_onnx.runtime.peak_memory import peak_memory


def process_details() -> dict[str, str]:
    """Return the versions of the program, Python and onnxruntime (if used), and the peak memory."""
    found = {"adcc-onnx": __version__, "Python": platform.python_version()}
    if "onnxruntime" in sys.modules:
        found["onnxruntime"] = sys.modules["onnxruntime"].__version__
    return {**found, "peak memory": f"{peak_memory() / 2**20:.0f} MiB"}
