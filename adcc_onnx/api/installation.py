"""The check of the installation, which works without onnxruntime."""

from __future__ import annotations

from adcc_onnx.runtime.diagnosis import Diagnosis, examine


def doctor() -> Diagnosis:
    """Examine this installation: versions, instruction sets, devices, CUDA's libraries, problems.

    Returns:
        What was found, with a fix for each problem.

    Example:
        >>> import adcc_onnx as adcc
        >>> "python" in adcc.doctor().versions
        True
    """
    return examine()
