"""The errors that a user can cause; each message says what is wrong, where, and what to do.

The command line prints `str(error)` on one line and exits with `error.exit_code`. The Python API
raises the error. Arguments of a wrong type raise Python's own `TypeError`.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class AdccError(Exception):
    """The base class of all errors of this package.

    Attributes:
        exit_code: The exit status of the command line after this error.

    Example:
        >>> import adcc_onnx as adcc
        >>> try:
        ...     adcc.load("missing.onnx")
        ... except adcc.AdccError as error:
        ...     print(error)
        no such model file: missing.onnx
    """

    exit_code = 1

    def __str__(self) -> str:
        """Return the message on one line, whatever the names in it hold."""
        return escape_control_characters(super().__str__())


class ModelError(AdccError):
    """The ONNX file cannot be read, or it is not an image classifier."""


class NotAModelError(ModelError):
    """The file is missing, is cut short, or does not hold an ONNX model."""


class ExternalDataError(ModelError):
    """The model's external weights are missing, or lie outside the model's folder."""


class OutOfMemoryError(ModelError):
    """The device does not have enough memory to run the model on a single image."""


class NoImageInputError(ModelError):
    """The model has no input that takes a batch of images."""


class NoClassScoresError(ModelError):
    """The model has no output with one score per class."""


class GradientError(ModelError):
    """The graph cannot be differentiated; methods without gradients still work."""


class NoGradientRuleError(GradientError):
    """An operator between the layer and the scores has no gradient rule.

    Args:
        text: The error message.
        output: The name of the first output of the operator's node.

    Attributes:
        output: The name of the first output of the operator's node.
    """

    def __init__(self, text: str, output: str = "") -> None:
        super().__init__(text)
        self.output = output


class ControlFlowError(NoGradientRuleError):
    """A branch or a loop between the layer and the scores depends on the image."""


class NoGradientPathError(GradientError):
    """The scores do not depend on the layer through differentiable operators."""


class UnknownLayerError(ModelError):
    """The model has no tensor, node or module of the layer's name."""


class LayerShapeError(ModelError):
    """The layer's values cannot be folded into a map of height by width."""


class ImageError(AdccError):
    """An image cannot be used; an evaluation records it as failed and continues."""


class SourceError(AdccError):
    """The source of the images is missing, empty or malformed."""


class PreprocessingError(AdccError):
    """The preprocessing is not known, or does not fit the model."""


class OptionError(AdccError):
    """The user gave a name that does not exist, or a value that is not allowed."""


class ExpressionError(OptionError):
    """An expression that the user wrote cannot be parsed.

    Args:
        text: The expression.
        index: Index of the first character that is wrong.
        reason: What is wrong.

    Attributes:
        position: Position of the first wrong character, counted from 1.
    """

    exit_code = 2

    def __init__(self, text: str, index: int, reason: str) -> None:
        self.position = index + len(text[index:]) - len(text[index:].lstrip()) + 1
        super().__init__(f"requirement '{text}': {reason} at position {self.position}")


class StoreError(AdccError):
    """An output file cannot be created, read or continued."""


class InterruptedRunError(AdccError):
    """The user stopped the run; the finished results are kept."""

    exit_code = 130


class DeviceError(AdccError):
    """The requested device is not available on this machine."""


class InstallationError(AdccError):
    """A package that adcc-onnx needs is missing or damaged; the message has the pip command."""


class ClusterError(AdccError):
    """The cluster cannot be reached, or its machines cannot do the work."""


class AdccWarning(UserWarning):
    """Advice to the user that changes no result; the command line prints its text."""


@contextmanager
def warnings_as_notes(notes: list[str], repeat: bool = False) -> Iterator[None]:
    """Append the texts of this package's warnings to a list; other warnings are left as they are.

    Args:
        notes: The list.
        repeat: Whether the warnings are given, too.

    Example:
        >>> notes = []
        >>> with warnings_as_notes(notes):
        ...     warnings.warn("the layer is a guess", AdccWarning)
        >>> notes
        ['the layer is a guess']
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AdccWarning)
        try:
            yield
        finally:
            found = list(caught)
    for warning in found:
        ours = issubclass(warning.category, AdccWarning)
        if ours:
            notes.append(str(warning.message))
        if repeat or not ours:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def did_you_mean(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Suggest the known names that are closest to a misspelled one.

    Args:
        name: The name that was not found.
        known: The names that exist.
        limit: The largest number of suggestions.

    Returns:
        A clause for the end of an error message, or an empty string without close names.

    Example:
        >>> did_you_mean("gradcan", ["gradcam", "scorecam"])
        "; did you mean 'gradcam'?"
    """
    by_folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_folded, n=limit, cutoff=0.5)
    if not close:
        return ""
    return "; did you mean " + " or ".join(repr(by_folded[folded]) for folded in close) + "?"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its type without a text.

    Args:
        error: An exception, usually of another library.

    Returns:
        One line.
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def root_cause(error: BaseException) -> str:
    """Return the first line of the text of an exception's first cause.

    Args:
        error: An exception; its `__cause__` is followed to the end.

    Returns:
        One line of at most 200 characters.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)[:200]


def first_reasons(reasons: Iterable[str | None], limit: int = 3) -> str:
    """Join the first different reasons of failures.

    Args:
        reasons: The reasons; None is left out.
        limit: The largest number of reasons.

    Example:
        >>> first_reasons(["a.png: cut short", None, "a.png: cut short", "b.png: too large"])
        'a.png: cut short; b.png: too large'
    """
    different = dict.fromkeys(reason for reason in reasons if reason)
    return "; ".join(list(different)[:limit]) or "there was no image"


def file_system_name(name: str) -> str:
    """Return a name as the functions of the file system take it, the same bytes in every locale.

    It is the inverse of `restore_name`: in an ASCII locale, Python holds the bytes of other
    characters as surrogates.

    Args:
        name: The name.

    Example:
        >>> file_system_name("dog.jpg")
        'dog.jpg'
    """
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def restore_name(name: str) -> str:
    r"""Decode a name in UTF-8 that Python holds as surrogates, because the locale is ASCII.

    Args:
        name: Name from the command line or the file system.

    Returns:
        The same name in every locale; bytes that are not valid UTF-8 are escaped.

    Example:
        >>> restore_name("caf\udcc3\udca9"), restore_name("caf\udce9")
        ('café', 'caf\\xe9')
    """
    if name.isascii():
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # There are other surrogates, which no file name holds.
        return name.encode("utf-8", "backslashreplace").decode()


def escape_control_characters(text: str) -> str:
    r"""Write out control characters, which names from files could use to control a terminal.

    Args:
        text: Text that may hold names from untrusted files.

    Example:
        >>> print(escape_control_characters("\x1b[31mred"))
        \x1b[31mred
    """
    text = restore_name(text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
