"""The built-in classifier and the generator of its images."""

from __future__ import annotations

from pathlib import Path


def classifier_path() -> Path:
    """The built-in classifier's ONNX file; its card and its labels lie beside it."""
    return Path(__file__).with_name("classifier.onnx")
