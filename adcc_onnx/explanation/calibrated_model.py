"""Calibration of a model for 8-bit integers on the first images of its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from adcc_onnx.errors import ImageError, StoreError
from adcc_onnx.explanation.autotuned_model import on_alternative
from adcc_onnx.explanation.samples import require_preprocessing, samples
from adcc_onnx.images.sources.image_source import Source, select_images
from adcc_onnx.model import Model
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.calibration import CALIBRATION_IMAGES, Calibration


def needs_calibration(model: Model) -> bool:
    """Return whether a model must be calibrated before it runs.

    Args:
        model: The model.
    """
    return model.cheaper == "int8" and model.calibration is None


def calibrated(
    model: Model, source: Source, report: Callable[[str], None] = lambda line: None
) -> Model:
    """Return a model that is calibrated on the first images of a source, if it needs that.

    Args:
        model: The model.
        source: The images, of which the first that can be decoded are used.
        report: A function that receives a line about the calibration.

    Raises:
        ImageError: No image can be decoded.
        ModelError: The model cannot be quantized.
    """
    if not needs_calibration(model):
        return model
    require_preprocessing(source, model)
    first = select_images(source, range(min(len(source), 2 * CALIBRATION_IMAGES)))
    found = (sample.tensor for sample in samples(first, model))
    tensors = list(islice((one for one in found if one is not None), CALIBRATION_IMAGES))
    if not tensors:
        raise ImageError(
            f"{model.name}: int8 is calibrated on the first images, and none of the first "
            f"{len(first)} can be decoded; use another precision, or other images"
        )
    count = "image" if len(tensors) == 1 else f"{len(tensors)} images"
    report(f"{model.name}: calibrated for int8 on the first {count}")
    return model.calibrated(np.stack(tensors))


def with_stored_calibration(model: Model, path: Path) -> Model:
    """Return a model with the calibration of a stored run, which is to be continued.

    The ranges may differ by rounding on another machine, but a run must have the same everywhere.
    Its device stays the one whose kernels computed the run so far.

    Args:
        model: The model.
        path: The file of the run, which may be missing.

    Raises:
        StoreError: The file is damaged.
    """
    if not needs_calibration(model) or not path.exists():
        return model
    with Store.open(path) as store:
        _, config, _ = store.configs().get(model.name, (0, {}, False))
    stored = config.get("calibration_ranges")
    if stored is None or "means" not in stored:  # earlier versions quantized in another way
        return model
    try:
        calibration = Calibration.from_record(stored)
        provider = config["calibration"]["provider"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: the calibration of {model.name} is damaged") from error
    devices = (model.device, *model.device.alternatives)
    same = [one for one in devices if one.kind == provider]
    calibrated = model.with_calibration(calibration)
    return on_alternative(calibrated, same[0]) if same else calibrated


def calibrated_models(
    models: Sequence[Model], source: Source, report: Callable[[str], None]
) -> list[Model]:
    """Return models that are calibrated on the first images of a source, if they need that.

    Args:
        models: The models.
        source: The images.
        report: A function that receives a line about each calibration.
    """
    return [calibrated(model, source, report) for model in models]
