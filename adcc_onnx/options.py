"""Parsing of the text `name(option=value, ...)` of a method or metric; no code in it is run."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from adcc_onnx.errors import OptionError, did_you_mean

_NAME = re.compile(r"[^\s()=,]+")
_CALL = re.compile(rf"\s*({_NAME.pattern})\s*(?:\(([^()]*)\)\s*)?")
# No sensible option has more digits, and long integers are slow to parse.
_MAX_DIGITS = 18


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a method or a metric.

    Args:
        text: The candidate; spaces, commas, `=` and brackets are not allowed.
    """
    return _NAME.fullmatch(text) is not None


def split_call(text: str) -> tuple[str, dict[str, str]]:
    """Split the text of a method or metric into its name and its options.

    Args:
        text: A name, or a name with options: `name(option=value, ...)`.

    Returns:
        The name, and the text of each option by the option's name.

    Raises:
        OptionError: The text does not have this form, or repeats an option.

    Example:
        >>> split_call("smoothgradcam++(n=4, sigma=0.3)")
        ('smoothgradcam++', {'n': '4', 'sigma': '0.3'})
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise OptionError(f"cannot parse '{text}': write name or name(option=value, ...)")
    name, inside = match.group(1), (match.group(2) or "").strip()
    options: dict[str, str] = {}
    for part in inside.split(",") if inside else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise OptionError(f"'{text}': write each option as option=value, not '{part.strip()}'")
        if key in options:
            raise OptionError(f"'{text}': option '{key}' is given twice")
        options[key] = value
    return name, options


def split_names(text: str) -> list[str]:
    """Split names at the commas that are not inside of brackets.

    Args:
        text: Names of methods or metrics, which may have options.

    Returns:
        The names without surrounding spaces.

    Example:
        >>> split_names("adcc, sensitivity(n=4, radius=0.1)")
        ['adcc', 'sensitivity(n=4, radius=0.1)']
    """
    return [name.strip() for name in re.split(r",(?![^()]*\))", text)]


def read_options(name: str, constructor: type, given: Mapping[str, str]) -> dict[str, Any]:
    """Convert the texts of options to the types that a constructor's annotations name.

    An argument may be annotated `int`, `float`, `bool`, `str` or `Literal[...]` of strings. An
    argument without an annotation takes the text itself.

    Args:
        name: The name of the method or metric, for messages.
        constructor: The class whose constructor takes the options.
        given: The text of each option by the option's name.

    Returns:
        The converted values by the options' names.

    Raises:
        OptionError: An option is unknown or missing, or its value has the wrong type.
    """
    arguments = _arguments(constructor)
    for key in given:
        if key not in arguments:
            known = f"options: {', '.join(arguments)}" if arguments else "it has none"
            raise OptionError(
                f"{name} has no option '{key}'{did_you_mean(key, arguments)} ({known})"
            )
    for key, argument in arguments.items():
        if argument.default is argument.empty and key not in given:
            raise OptionError(f"{name} needs its option '{key}': write {name}({key}=...)")
    # A dataclass may inherit fields, whose annotations refer to names of another module.
    typed = constructor if is_dataclass(constructor) else constructor.__init__  # type: ignore[misc]
    hints = get_type_hints(typed) if given else {}  # this call is slow
    return {key: _value(name, key, text, hints.get(key, str)) for key, text in given.items()}


def call_text(instance: Any) -> str:
    """Write a method or metric as the text that creates it.

    Args:
        instance: An object with a `name`. The fields of a dataclass are its options.

    Returns:
        The name, followed by the options that differ from their defaults.

    Example:
        >>> from adcc_onnx.cams.method_registry import get_method
        >>> call_text(get_method("smoothgradcam++(n=4)"))
        'smoothgradcam++(n=4)'
    """
    options = fields(instance) if is_dataclass(instance) else ()
    changed = [
        f"{option.name}={getattr(instance, option.name)}"
        for option in options
        if getattr(instance, option.name) != option.default
    ]
    name = str(instance.name)
    return f"{name}({', '.join(changed)})" if changed else name


def _arguments(constructor: type) -> dict[str, inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(constructor).parameters
    return {key: argument for key, argument in parameters.items() if argument.kind in named}


def _value(name: str, key: str, text: str, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if (word := _unquoted(text)) in choices:
            return word
        wanted = " or ".join(repr(choice) for choice in choices)
    else:
        read, wanted = _READERS.get(hint, _READERS[str])
        if (value := read(text)) is not None:
            return value
    raise OptionError(f"{name}: {key} must be {wanted}, not '{text}'")


def _whole_number(text: str) -> int | None:
    fits = re.fullmatch(r"[+-]?[0-9]+", text) and len(text) <= _MAX_DIGITS
    return int(text) if fits else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _truth(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


# By type: a parser, which returns None for an invalid text, and the description for messages.
_READERS: dict[Any, tuple[Any, str]] = {
    int: (_whole_number, "a whole number"),
    float: (_number, "a number"),
    bool: (_truth, "true or false"),
    str: (_unquoted, "text"),
}
