"""Warnings about labels and predictions that are probably wrong."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from adcc_onnx.errors import AdccWarning, SourceError
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.explanation.samples import labeled_class
from adcc_onnx.explanation.targets import LABEL, PREDICTED
from adcc_onnx.images.preprocessing import PRESETS
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model
from adcc_onnx.results.rows import ImageRow

_FEWEST_IMAGES = 20
_LOW_ACCURACY = 0.2
_NEAR_UNIFORM = 2.0  # times the probability of a class if all have the same
_EXAMPLES = 3


def check_labels(model: Model, source: Source, plan: Plan) -> None:
    """Warn about labels that are none of the model's classes.

    Args:
        model: The model.
        source: The images.
        plan: The plan.

    Raises:
        SourceError: The target is the label, and no image has a label that the model knows.
    """
    given = [label for label in source.labels if label is not None]
    unknown = [label for label in given if labeled_class(label, model) is None]
    if plan.target == LABEL and len(unknown) == len(given):
        reason = "no image has a label" if not given else f"no label is {_known_classes(model)}"
        raise SourceError(
            f"the target is the label, but {reason}{_examples(unknown)}: give --labels FILE "
            "(docs/reference/sources.md), or explain the predicted class"
        )
    if unknown:
        warnings.warn(
            f"{len(unknown)} of {len(given)} labels are not {_known_classes(model)}"
            f"{_examples(unknown)}; these images count as unlabeled{_class_names_hint(model)}",
            AdccWarning,
            stacklevel=2,
        )


def check_predictions(model: Model, rows: Sequence[ImageRow], plan: Plan) -> None:
    """Warn about predictions that suggest a wrong preprocessing.

    Args:
        model: The model.
        rows: The evaluated images.
        plan: The plan.
    """
    scored = [row for row in rows if row.predicted is not None]
    labeled = [row for row in scored if row.label is not None]
    if len(labeled) >= _FEWEST_IMAGES:
        top1 = sum(row.predicted == row.label for row in labeled) / len(labeled)
        if top1 < _LOW_ACCURACY or top1 <= 1.0 / model.classifier.classes:
            _warn(
                f"top-1 is {100 * top1:.1f} % on {len(labeled)} labeled images: the preprocessing "
                f"{_preprocessing_name(model)}or the order of the classes is probably wrong",
                model,
            )
    elif plan.target == PREDICTED and len(scored) >= _FEWEST_IMAGES:
        median = float(
            np.median([row.probability for row in scored if row.probability is not None])
        )
        kind = model.classifier.scores_kind
        if kind != "sigmoid" and median < _NEAR_UNIFORM / model.classifier.classes:
            _warn(
                f"the model is nearly as unsure as by chance (median probability of the predicted "
                f"class {100 * median:.2g} %): the preprocessing {_preprocessing_name(model)}is "
                "probably wrong",
                model,
            )


def _warn(text: str, model: Model) -> None:
    fix = "check how the tensors were made"
    if model.preprocessing is not None:
        presets = ", ".join(PRESETS)
        fix = f"try another --preprocess ({presets}), or find the right one by adcc-onnx check"
    warnings.warn(f"{model.name}: {text}; {fix}", AdccWarning, stacklevel=3)


def _preprocessing_name(model: Model) -> str:
    """Return the name of the preset whose pixel values the model gets, with a space behind it."""
    if model.preprocessing is None:
        return ""
    used = model.preprocessing
    for name, fields in PRESETS.items():
        if all(getattr(used, key) == value for key, value in fields.items()):
            return f"'{name}' "
    return "of the card "


def _known_classes(model: Model) -> str:
    return f"one of the model's {model.classifier.classes:,} classes"


def _class_names_hint(model: Model) -> str:
    if model.labels is not None:
        return ""
    return "; class names need `labels` in the model's card (docs/reference/cards.md)"


def _examples(labels: Sequence[int | str]) -> str:
    shown = [repr(label) for label in dict.fromkeys(labels)]
    return f" (such as {', '.join(shown[:_EXAMPLES])})" if shown else ""
