"""The check of the installation, which works without onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcc_onnx.runtime.diagnosis import Diagnosis, examine

if TYPE_CHECKING:
    from adcc_onnx.runtime.precisions import CheaperPrecision


def doctor() -> Diagnosis:
    """Examine the installation: versions, the CPU's instruction sets, devices and CUDA's libraries.

    Returns:
        What was found, and the problems with a fix for each.

    Example:
        >>> import adcc_onnx as adcc
        >>> "python" in adcc.doctor().versions
        True
    """
    return examine()


def cheaper_precisions() -> list[CheaperPrecision]:
    """List the precisions that are cheaper than float32, also those that this machine lacks.

    Returns:
        The precisions with the device that each needs, why this machine cannot use it (None if it
        can), and the usual time of a pass relative to float32, which depends on the model.

    Raises:
        InstallationError: The package onnxruntime is not installed.

    Example:
        >>> import adcc_onnx as adcc
        >>> [precision.name for precision in adcc.cheaper_precisions()]
        ['fp16', 'bf16', 'int8']
    """
    from adcc_onnx.runtime.precisions import machine_precisions

    return machine_precisions()
