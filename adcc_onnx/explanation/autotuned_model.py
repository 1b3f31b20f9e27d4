"""Autotuning of a model for the methods that will be run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from adcc_onnx.cams.method import Need
from adcc_onnx.explanation.required_passes import pass_for
from adcc_onnx.model import Model
from adcc_onnx.runtime.autotuning import autotune


def autotuned(
    model: Model, needs: frozenset[Need], report: Callable[[str], None] = lambda line: None
) -> Model:
    """Return the same model with the fastest run settings, measured once and then cached on disk.

    Args:
        model: The model.
        needs: What the methods need; the settings are tuned for the pass that provides it.
        report: A function that receives a line about the chosen settings.

    Raises:
        ModelError: The model does not run at any batch size.
    """
    found = autotune(model.pool, pass_for(needs), model.sha256)
    report(f"{model.name}: {found}")
    return replace(model, settings=found.settings)
