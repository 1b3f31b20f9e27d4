"""The module `onnxruntime` for all modules that use it, imported and checked once.

The base package depends on no onnxruntime, because several packages contain it and overwrite each
other's files. An installation without one, or with two, is explained here.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from adcc_onnx.errors import AdccWarning, InstallationError
from adcc_onnx.runtime.onnxruntime_packages import import_problem, overlap_problems

__all__ = ["onnxruntime"]


def _checked() -> Any:
    """Return the module.

    Raises:
        InstallationError: The package onnxruntime is missing, too old or damaged.

    Warns:
        AdccWarning: Two packages have overwritten each other's files.
    """
    broken = import_problem()
    if broken is not None:
        raise InstallationError(f"{broken.what}; run: {broken.fix}")
    for problem in overlap_problems("onnxruntime"):
        warnings.warn(f"{problem.what}; run: {problem.fix}", AdccWarning, stacklevel=2)
    return importlib.import_module("onnxruntime")


onnxruntime = _checked()
