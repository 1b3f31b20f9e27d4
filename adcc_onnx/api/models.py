"""Loading of models, and models as arguments of the other functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

import adcc_onnx.model
from adcc_onnx.api.checked_arguments import checked_arguments
from adcc_onnx.evaluation.run_options import ModelOptions, load_with
from adcc_onnx.evaluation.stored_evaluation import Notify, quiet
from adcc_onnx.images.class_names import read_class_names
from adcc_onnx.model import Model

ModelLike = str | Path | onnx.ModelProto | Model
Graph = str | Path | onnx.ModelProto

load = checked_arguments(adcc_onnx.model.load)


def as_model(model: ModelLike, options: ModelOptions, notify: Notify = quiet) -> Model:
    """Load a model unless it is loaded already.

    Args:
        model: A model's file, a model in memory, or a loaded model.
        options: The options of `load` for a model that is not loaded.
        notify: Receives the device, the reason for the chosen scores and a fixed batch size.

    Returns:
        The loaded model.

    Raises:
        TypeError: There are options, and the model is loaded already.
        AdccError: The model cannot be loaded.
    """
    if isinstance(model, Model):
        if options:
            names = ", ".join(options)
            raise TypeError(f"model is loaded already: give {names} to adcc_onnx.load instead")
        return model
    loaded = load_with(model, options)
    notify(f"{loaded.name}: {loaded.device.reason}")
    if loaded.classifier.scores_reason:
        notify(f"{loaded.name}: {loaded.classifier.scores_reason}")
    if not loaded.any_batch:
        notify(f"{loaded.name}: the model fixes the batch size to {loaded.batch}")
    return loaded


def with_class_names(model: Model, names: str | Path | Sequence[str] | None) -> Model:
    """Return a model with other class names.

    Args:
        model: The model.
        names: A text file with one name per line, or the names; None keeps those of the model.

    Returns:
        The model with these names.

    Raises:
        PreprocessingError: The file cannot be read.
    """
    if names is None:
        return model
    found = read_class_names(Path(names)) if isinstance(names, str | Path) else names
    return model.with_labels(found)
