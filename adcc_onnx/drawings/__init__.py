"""The built-in classifier and the generator of its synthetic images (drawings)."""

from __future__ import annotations

from pathlib import Path


def classifier_path() -> Path:
    """Return the path of the built-in classifier's ONNX file.

    Its model card and its class names are in the same folder.

    Example:
        >>> classifier_path().name
        'classifier.onnx'
    """
    return Path(__file__).with_name("classifier.onnx")
