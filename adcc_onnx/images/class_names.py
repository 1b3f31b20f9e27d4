"""Class names, and which class a label means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adcc_onnx.errors import PreprocessingError


def read_class_names(path: Path) -> list[str]:
    """The names of the classes, one a line, in the order of the scores.

    Raises:
        PreprocessingError: the file cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PreprocessingError(f"the labels file {path} cannot be read ({error})") from error


def find_class(label: int | str, names: Sequence[str] | None, classes: int) -> int | None:
    """The class a label means: a number as it is, a name by the list; None if there is none.

    A name is found whole, by its first word ("n01440764" of "n01440764 tench") or by the rest.
    """
    if isinstance(label, int):
        return label if 0 <= label < classes else None
    if names is None:
        return int(label) if label.isdigit() and int(label) < classes else None
    wanted = _folded(label)
    for index, name in enumerate(names[:classes]):
        first, _, rest = name.partition(" ")
        if wanted in {_folded(name), _folded(first.rstrip(",")), _folded(rest)}:
            return index
    return None


def _folded(name: str) -> str:
    return name.strip().lower().replace("_", " ")
