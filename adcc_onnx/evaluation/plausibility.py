"""Warnings about labels and predictions that are probably wrong."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np

from adcc_onnx.errors import AdccError, AdccWarning, SourceError
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.shuffled_pixels import similarity_after_shuffling
from adcc_onnx.explanation.samples import labeled_class
from adcc_onnx.explanation.targets import LABEL
from adcc_onnx.images.preprocessing import PRESETS
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model
from adcc_onnx.results.rows import ImageRow

_FEWEST_LABELED = 20
_LOW_ACCURACY = 0.2
_EXAMPLES = 3
# docs/results/untrained.md shows what these limits separate.
_FEWEST_IMAGES = 10
_SHUFFLED_IMAGES = 12
_FEWEST_CLASSES = 5  # the scores of fewer classes may correlate by chance
_ALIKE = 0.95


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


def check_predictions(model: Model, rows: Sequence[ImageRow], source: Source) -> list[str]:
    """Warn about predictions that suggest untrained weights or a wrong preprocessing.

    Args:
        model: The model.
        rows: The evaluated images.
        source: The images.

    Returns:
        The warnings without the name of the model.
    """
    reason = _doubt(model, [row for row in rows if row.predicted is not None], source)
    if not reason:
        return []
    fix = "check how the tensors were made"
    if model.preprocessing is not None:
        presets = ", ".join(PRESETS)
        fix = f"try another --preprocess ({presets}), or find the right one by adcc-onnx check"
    text = f"{reason}; {fix}"
    warnings.warn(f"{model.name}: {text}", AdccWarning, stacklevel=2)
    return [text]


def _doubt(model: Model, scored: Sequence[ImageRow], source: Source) -> str:
    """Return why the predictions are probably wrong; empty if they are not."""
    labeled = [row for row in scored if row.label is not None]
    if len(labeled) >= _FEWEST_LABELED:
        return _doubt_by_labels(model, labeled)
    if len(scored) < _FEWEST_IMAGES:
        return ""
    return _doubt_by_confidence(model, scored) or _doubt_by_shuffling(model, scored, source)


def _doubt_by_labels(model: Model, labeled: Sequence[ImageRow]) -> str:
    top1 = sum(row.predicted == row.label for row in labeled) / len(labeled)
    if top1 >= _LOW_ACCURACY and top1 > 1.0 / model.classifier.classes:
        return ""
    return (
        f"top-1 is {100 * top1:.1f} % on {len(labeled)} labeled images: the preprocessing "
        f"{_preprocessing_name(model)}or the order of the classes is probably wrong"
    )


def _doubt_by_confidence(model: Model, scored: Sequence[ImageRow]) -> str:
    """Look for log-odds that are nearer to those of chance than to 0 (50 %)."""
    found = [row.probability for row in scored if row.target == row.predicted]
    known = [one for one in found if one is not None]
    if len(known) < _FEWEST_IMAGES or model.classifier.scores_kind == "sigmoid":
        return ""
    median, classes = float(np.median(known)), model.classifier.classes
    if median * median * (classes - 1) >= (1.0 - median) ** 2:
        return ""
    return (
        f"the model is very unsure (median probability of the predicted class "
        f"{100 * median:.2g} %, {100 / classes:.2g} % by chance): {_causes(model)}"
    )


def _doubt_by_shuffling(model: Model, scored: Sequence[ImageRow], source: Source) -> str:
    """Look for scores that do not depend on what the images show, if most have one class."""
    (common, count), *_ = Counter(row.predicted for row in scored).most_common(1)
    if 2 * count <= len(scored) or model.classifier.classes < _FEWEST_CLASSES:
        return ""
    positions = sorted(row.position for row in scored)[:_SHUFFLED_IMAGES]
    try:
        similarity = similarity_after_shuffling(model, source, positions)
    except AdccError:
        return ""
    if similarity < _ALIKE:
        return ""
    return (
        f"{count} of {len(scored)} images get the class {_class_name(model, common)}, and the "
        f"scores hardly change if the pixels of an image are shuffled (median correlation "
        f"{similarity:.3f}): {_causes(model)}"
    )


def _causes(model: Model) -> str:
    name = _preprocessing_name(model)
    return f"the weights are probably not trained, or the preprocessing {name}is wrong"


def _class_name(model: Model, index: int | None) -> str:
    return str(index) if model.labels is None or index is None else repr(model.labels[index])


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
