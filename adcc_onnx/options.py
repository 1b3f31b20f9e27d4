"""The text `name(option=value, ...)` of a method or a metric, read without running any of it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from adcc_onnx.errors import OptionError, did_you_mean

_NAME = re.compile(r"[^\s()=,]+")
_CALL = re.compile(rf"\s*({_NAME.pattern})\s*(?:\(([^()]*)\)\s*)?")
# Longer numbers are no sensible option, and slow to read.
_LONGEST_NUMBER = 18


def is_name(text: str) -> bool:
    """Whether something of this name can be asked for."""
    return _NAME.fullmatch(text) is not None


def split_call(text: str) -> tuple[str, dict[str, str]]:
    """`"m(a=1, b=x)"` as `("m", {"a": "1", "b": "x"})`.

    Raises:
        OptionError: the text is not of that form, or gives an option twice.
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise OptionError(f"'{text}' is not understood: write name or name(option=value, ...)")
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


def read_options(name: str, constructor: type, given: Mapping[str, str]) -> dict[str, Any]:
    """The values of `given` as the constructor's annotations want them.

    An argument may be annotated `int`, `float`, `bool`, `str` or `Literal[...]` of strings;
    one without an annotation takes text.

    Raises:
        OptionError: an unknown option, a missing one, or a value of the wrong kind.
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
    # A dataclass may inherit fields, whose types are written in the words of another module.
    typed = constructor if is_dataclass(constructor) else constructor.__init__  # type: ignore[misc]
    hints = get_type_hints(typed) if given else {}  # slow to read
    return {key: _value(name, key, text, hints.get(key, str)) for key, text in given.items()}


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
    fits = re.fullmatch(r"[+-]?[0-9]+", text) and len(text) <= _LONGEST_NUMBER
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


# How the text of a kind of option is read (None where it is no such thing), and what it must be.
_READERS: dict[Any, tuple[Any, str]] = {
    int: (_whole_number, "a whole number"),
    float: (_number, "a number"),
    bool: (_truth, "true or false"),
    str: (_unquoted, "text"),
}
