"""Every error a user can cause, each saying in one line what is wrong, where, and what to do.

The command line prints ``str(error)`` and exits with ``error.exit_code``; the Python API raises it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AdccError(Exception):
    """Base of all errors of this package; its text is one line for a person."""

    exit_code = 1


class ModelError(AdccError):
    """The ONNX file cannot be read, or is not an image classifier."""


class NotAModelError(ModelError):
    """The file is missing, truncated, or no ONNX model at all."""


class ExternalDataError(ModelError):
    """The model's external weights are missing or point outside its folder."""


class OutOfMemoryError(ModelError):
    """The device has not the memory to run the model on a single image."""


class NoImageInputError(ModelError):
    """No input of the model can take a batch of images."""


class NoClassScoresError(ModelError):
    """No output of the model is a row of class scores."""


class GradientError(ModelError):
    """The graph cannot be differentiated; methods that need no gradient still run."""


class NoGradientRuleError(GradientError):
    """An operator on the way from the layer to the scores has no gradient rule.

    Attributes:
        output: the first output of the operator's node.
    """

    def __init__(self, text: str, output: str = "") -> None:
        super().__init__(text)
        self.output = output


class ControlFlowError(NoGradientRuleError):
    """A branch or loop between the layer and the scores depends on the image."""


class NoGradientPathError(GradientError):
    """The scores do not depend on the layer through differentiable operators."""


class UnknownLayerError(ModelError):
    """The layer asked for is no tensor, node or module of the model."""


class LayerShapeError(ModelError):
    """The layer cannot be folded into a map of height by width."""


class ImageError(AdccError):
    """One image cannot be used: recorded as failed, it never ends a run."""


class SourceError(AdccError):
    """The place the images should come from is missing, empty or malformed."""


class PreprocessingError(AdccError):
    """The preprocessing is not given, or does not fit the model."""


class OptionError(AdccError):
    """A name or a value given by the user is not one that exists."""


class StoreError(AdccError):
    """The run's file cannot be created, read or continued."""


class InterruptedRunError(AdccError):
    """The user stopped the run; what was finished is kept."""

    exit_code = 130


class DeviceError(AdccError):
    """The device asked for is not available on this machine."""


class ClusterError(AdccError):
    """The cluster cannot be reached, or its machines cannot do the work."""


class AdccWarning(UserWarning):
    """Something a user should know that changes no result; the command line prints its text."""


def did_you_mean(name: str, known: Iterable[str], limit: int = 3) -> str:
    """A clause with the names closest to `name`: ``"; did you mean 'a' or 'b'?"``, or nothing.

    >>> did_you_mean("gradcan", ["gradcam", "scorecam"])
    "; did you mean 'gradcam'?"
    """
    by_folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_folded, n=limit, cutoff=0.5)
    if not close:
        return ""
    return "; did you mean " + " or ".join(repr(by_folded[folded]) for folded in close) + "?"


def first_line(error: BaseException) -> str:
    """What a library's error says, in a line: its text's first one, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def root_cause(error: BaseException) -> str:
    """The first line of the text of an exception's first cause, at most 200 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)[:200]
