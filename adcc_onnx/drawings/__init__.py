"""The built-in classifiers and the generator of their synthetic images (drawings)."""

from __future__ import annotations

from pathlib import Path

from adcc_onnx.errors import OptionError, did_you_mean

# The file of each built-in classifier.
_FILES = {"cnn": "classifier.onnx", "transformer": "transformer.onnx"}
CLASSIFIERS = tuple(_FILES)


def classifier_path(name: str = "cnn") -> Path:
    """Return the path of a built-in classifier's ONNX file.

    Its model card and its class names are in the same folder.

    Args:
        name: "cnn", a convolutional network, or "transformer", a small vision transformer.

    Returns:
        The ONNX file.

    Raises:
        OptionError: There is no such classifier.

    Example:
        >>> classifier_path().name, classifier_path("transformer").name
        ('classifier.onnx', 'transformer.onnx')
    """
    if name not in _FILES:
        close = did_you_mean(name, CLASSIFIERS)
        raise OptionError(
            f"no built-in classifier '{name}'{close}; choose {' or '.join(CLASSIFIERS)}"
        )
    return Path(__file__).with_name(_FILES[name])
