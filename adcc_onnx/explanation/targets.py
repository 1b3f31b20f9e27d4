"""The explained class: predicted, by label, by index, or by name."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from adcc_onnx.errors import OptionError, did_you_mean, restore_name
from adcc_onnx.images.class_names import find_class
from adcc_onnx.model import Model

PREDICTED, LABEL = "predicted", "label"
_WORDS = (PREDICTED, LABEL)


def parse_target(target: Any) -> str | int:
    """Check a target that does not depend on a model, and convert indices to integers.

    Args:
        target: "predicted", "label", a class index (also as text) or a class name.

    Returns:
        The index as an integer, and any other target as it is.

    Raises:
        TypeError: The target is neither text nor an integer.
        OptionError: The target is empty or a negative index.
    """
    if isinstance(target, str):
        target = restore_name(target)
        digits = target.removeprefix("-").isdecimal()
        number = int(target) if digits and len(target) < 19 else None
    elif isinstance(target, bool) or not hasattr(target, "__index__"):
        raise TypeError(
            "target must be 'predicted', 'label', a class index or a class name, "
            f"not {type(target).__name__}"
        )
    else:
        number = index(target)
    if target == "" or (number is not None and number < 0):
        raise OptionError(
            f"target must be 'predicted', 'label', a class index or a class name, not '{target}'"
        )
    return str(target) if number is None else number


def resolve_target(target: str | int, model: Model) -> str | int:
    """Find the class index of a target that is a class name.

    Args:
        target: The target from `parse_target`.
        model: The model whose classes count.

    Returns:
        "predicted", "label", or a class index that the model has.

    Raises:
        OptionError: The model has no such class.
    """
    if target in _WORDS:
        return target
    return class_index(target, model.labels, model.classifier.classes)


def class_index(target: str | int, names: Sequence[str] | None, classes: int) -> int:
    """Find the index of a class by its index or its name.

    Args:
        target: A class index or a class name.
        names: The names of the classes, if they are known.
        classes: The number of classes.

    Returns:
        The index.

    Raises:
        OptionError: There is no such class, or class names are not known.

    Example:
        >>> class_index("goldfish", ["n1 tench", "n2 goldfish"], 2)
        1
    """
    found = find_class(target, names, classes)
    if found is not None:
        return found
    if isinstance(target, int):
        raise OptionError(
            f"there is no class {target}: the model has {classes} classes, numbered from 0"
        )
    if names is None:
        raise OptionError(
            f"the class '{target}' needs class names: give --class-names FILE to explain, "
            f"`labels` in the model's card, or a class index{did_you_mean(target, _WORDS)}"
        )
    known = [name.partition(" ")[2] or name for name in names]
    raise OptionError(f"there is no class '{target}'{did_you_mean(target, [*known, *_WORDS])}")
