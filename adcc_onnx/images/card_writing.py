"""Writing of model cards: the TOML file next to a model, and the file of its class names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adcc_onnx.images.preprocessing import Preprocessing


def preprocessing_keys(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the keys of a card that describe a preprocessing.

    Args:
        preprocessing: The preprocessing.

    Returns:
        The values by key, as `write_card` takes them.

    Example:
        >>> keys = preprocessing_keys(Preprocessing.preset("tf", (224, 224)))
        >>> keys["size"], keys["resize"], keys["scale"], keys["mean"]
        (224, 256, 127.5, [1.0, 1.0, 1.0])
    """
    found = preprocessing.describe()
    height, width = preprocessing.size
    found["size"] = height if height == width else [height, width]
    if not preprocessing.crop:
        del found["resize"]  # the image is resized directly to `size`
    return found


def write_card(
    card: Path, keys: Mapping[str, Any], names: Sequence[str] | None = None, comment: str = ""
) -> list[Path]:
    """Write a card, and its class names into a file of their own.

    Args:
        card: The TOML file; the class names are written to `STEM.labels.txt` in the same folder.
        keys: The values by key; None is left out, and dictionaries become sections.
        names: The class names in the order of the scores; the card has none if None.
        comment: The first line of the card; a line about the preprocessing if empty.

    Returns:
        The files that were written.

    Example:
        >>> files = write_card(Path("net.toml"), {"size": 32, "about": {"source": "own"}}, ["cat"])
        >>> [file.name for file in files]
        ['net.labels.txt', 'net.toml']
        >>> print(files[1].read_text().strip())
        # The preprocessing of net.onnx; see docs/reference/cards.md.
        size = 32
        labels = "net.labels.txt"
        [about]
        source = "own"
    """
    written = []
    plain = {key: value for key, value in keys.items() if not isinstance(value, Mapping)}
    sections = {key: value for key, value in keys.items() if isinstance(value, Mapping)}
    if names is not None:
        labels = labels_file(card)
        labels.write_text("".join(f"{name}\n" for name in names), "utf-8", newline="\n")
        plain["labels"] = labels.name
        written.append(labels)
    model = card.with_suffix(".onnx").name
    about = comment or f"The preprocessing of {model}; see docs/reference/cards.md."
    lines = [f"# {about}", *_assignments(plain)]
    for name, section in sections.items():
        lines += [f"[{name}]", *_assignments(section)]
    card.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
    return [*written, card]


def labels_file(card: Path) -> Path:
    """Return the file that `write_card` writes the class names to.

    Args:
        card: The TOML file.

    Example:
        >>> labels_file(Path("resnet18.toml")).name
        'resnet18.labels.txt'
    """
    return card.with_suffix(".labels.txt")


def _assignments(values: Mapping[str, Any]) -> list[str]:
    """Write values as TOML, which equals JSON for numbers, texts and lists of them."""
    return [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if value is not None
    ]
