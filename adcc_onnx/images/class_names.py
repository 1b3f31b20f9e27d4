"""Class names, and lookup of the class that a label denotes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adcc_onnx.errors import PreprocessingError
from adcc_onnx.images.text_files import read_text

_MAX_BYTES = 64 * 2**20


def read_class_names(path: Path) -> list[str]:
    """Read class names from a text file, one per line in the order of the scores.

    Args:
        path: The file, in UTF-8.

    Returns:
        The class names.

    Raises:
        PreprocessingError: The file cannot be read as text, or is too large.
    """
    try:
        return read_text(path, f"the labels file {path}", _MAX_BYTES).splitlines()
    except ValueError as error:
        raise PreprocessingError(str(error)) from error


def class_name(names: Sequence[str] | None, index: int) -> str:
    """Return the name of a class, such as "class 3" where the model has no names.

    Args:
        names: Class names in the order of the scores; None if unknown.
        index: The class index.

    Example:
        >>> class_name(["tench", "goldfish"], 1), class_name(None, 3)
        ('goldfish', 'class 3')
    """
    return names[index] if names is not None and index < len(names) else f"class {index}"


def find_class(label: int | str, names: Sequence[str] | None, classes: int) -> int | None:
    """Find the class that a label denotes.

    A text label matches a class name as a whole, by its first word ("n01440764" of "n01440764
    tench") or by the rest; upper case and underscores are ignored. Without class names, a text
    label must be a class index.

    Args:
        label: A class index or name.
        names: Class names in the order of the scores; None if unknown.
        classes: Number of classes.

    Returns:
        The class index; None if the label denotes no class.

    Example:
        >>> find_class("goldfish", ["n01440764 tench", "n01443537 goldfish"], 2)
        1
        >>> find_class(7, None, 5) is None
        True
    """
    if isinstance(label, int):
        return label if 0 <= label < classes else None
    if names is None:
        return int(label) if label.isdigit() and int(label) < classes else None
    wanted = _normalize(label)
    for index, name in enumerate(names[:classes]):
        first, _, rest = name.partition(" ")
        if wanted in {_normalize(name), _normalize(first.rstrip(",")), _normalize(rest)}:
            return index
    return None


def _normalize(name: str) -> str:
    return name.strip().lower().replace("_", " ")
