"""A trial of a device: a small convolution, run in a process of its own.

A device can be there and fail at the first run: its libraries may lack kernels for it, another
process may hold it, or parts of cuDNN may be missing. Some of these failures kill the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

_SECONDS = 120.0  # TensorRT builds an engine in the trial
# Reads the trial as JSON; prints the error as JSON, or the providers of the session that ran.
_PROGRAM = """
import json, sys
trial = json.load(sys.stdin)
sys.path[:] = trial["path"]
try:
    import numpy, onnxruntime
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(
        bytes.fromhex(trial["model"]),
        providers=[one if isinstance(one, str) else tuple(one) for one in trial["providers"]],
        enable_fallback=False,
    )
    session.run(None, {"x": numpy.ones((2, 4, 8, 8), numpy.float32)})
    found = {"providers": session.get_providers()}
except Exception as error:
    found = {"error": str(error)}
print("\\n" + json.dumps(found))
"""


@dataclass(frozen=True)
class Trial:
    """The result of a trial.

    Attributes:
        error: The error that the trial ended in; None if it passed or crashed.
        crashed: Whether the trial's process was killed or did not end.
    """

    error: str | None = None
    crashed: bool = False

    @property
    def passed(self) -> bool:
        """Whether the convolution ran."""
        return self.error is None and not self.crashed


def run_trial(provider: str, providers: list[Any]) -> Trial:
    """Run the trial once per process for the same providers.

    Args:
        provider: The provider that must have run the convolution; onnxruntime drops a provider
            silently.
        providers: The providers as `onnxruntime.InferenceSession` takes them.

    Returns:
        The result.
    """
    return _run(provider, json.dumps(providers))


@cache
def _run(provider: str, providers: str) -> Trial:
    request = {"model": _model().hex(), "providers": json.loads(providers), "path": sys.path}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _PROGRAM],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
            check=False,
        )
        found = json.loads(done.stdout.strip().rpartition("\n")[2])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return Trial(crashed=True)
    if "error" in found:
        return Trial(error=found["error"])
    if provider not in found["providers"]:
        return Trial(error=f"onnxruntime drops {provider}")
    return Trial()


def _model() -> bytes:
    """A Relu, a Conv and a MatMul: one kernel each of onnxruntime, cuDNN and cuBLAS.

    Without kernels for the GPU, the Relu fails with an error that says so.
    """
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in (("kernel", (4, 4, 3, 3)), ("matrix", (6, 6)))
    ]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Conv", ["r", "kernel"], ["c"]),
        helper.make_node("MatMul", ["c", "matrix"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "trial", [x], [y], weights)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    return bytes(model.SerializeToString())
