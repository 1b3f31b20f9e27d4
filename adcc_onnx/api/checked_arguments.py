"""Checks of the types of arguments, so that a mistake names the argument."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from adcc_onnx.errors import did_you_mean

_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")

_NAMES = {"str": "text", "int": "an integer", "float": "a number", "bool": "True or False"}
_NAMES |= {"Path": "a path", "NoneType": "None", "tuple": "a pair", "Sequence": "a list"}
_NAMES |= {"Callable": "a function", "ModelProto": "an onnx.ModelProto", "ndarray": "an array"}
_NAMES |= {"Model": "a model from adcc_onnx.load", "Image": "a PIL image", "Source": ""}


def checked_arguments(
    function: Callable[_Parameters, _Returned],
) -> Callable[_Parameters, _Returned]:
    """Make a public function check the types of its arguments by its annotations.

    Args:
        function: The function.

    Returns:
        The same function, which raises a `TypeError` that names the argument.

    Example:
        >>> @checked_arguments
        ... def double(number: int) -> int:
        ...     return 2 * number
        >>> double("3")
        Traceback (most recent call last):
        ...
        TypeError: double: number must be an integer, not '3'
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Returned:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{function.__name__}: {error}") from None
        hints = get_type_hints(function)
        for name, value in given.items():
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                known = get_args(hints[name])[0].__annotations__
                _check_keywords(function.__name__, value, known, signature.parameters)
            elif not _accepts(hints[name], value):
                raise TypeError(
                    f"{function.__name__}: {name} must be {_described(hints[name])}, "
                    f"not {_shown(value)}"
                )
        return function(*args, **kwargs)

    return checked


def as_list(given: Any) -> list[Any]:
    """Return a sequence as a list, and a single item as a list of one.

    Args:
        given: One item, which may be text, or a sequence of items.
    """
    one = isinstance(given, str) or not isinstance(given, Sequence)
    return [given] if one else list(given)


def _check_keywords(
    function: str, given: Iterable[str], known: Iterable[str], parameters: Iterable[str]
) -> None:
    """Check the names of further keywords against those of a typed dictionary.

    Raises:
        TypeError: A keyword does not exist.
    """
    for name in set(given) - set(known):
        close = did_you_mean(name, [*parameters, *known])
        raise TypeError(f"{function}: there is no argument '{name}'{close}")


def _accepts(hint: Any, value: Any) -> bool:
    """Return whether a value has the type of a hint; hints of other kinds accept anything."""
    origin, inner = _origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_accepts(one, value) for one in inner)
    if origin is tuple:
        wanted = isinstance(value, tuple | list) and len(value) == len(inner)
        return wanted and all(map(_accepts, inner, value))
    if origin is not None and issubclass(origin, Sequence):
        listed = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)
        return listed and all(_accepts(inner[0], one) for one in value)
    if origin is not None:
        return callable(value) if "Callable" in str(origin) else isinstance(value, origin)
    if hint in (int, float):
        numbers = (int, np.integer) if hint is int else (int, float, np.integer, np.floating)
        return isinstance(value, numbers) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def _origin(hint: Any) -> Any:
    """Return the class of a generic hint; since numpy 2.5, the type of arrays is an alias of it."""
    origin = get_origin(hint)
    meant = getattr(origin, "__value__", None)
    return origin if meant is None else get_origin(meant)


def _described(hint: Any) -> str:
    """Describe a hint in words."""
    inner = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    plain = [_origin(one) or one for one in inner]
    names = [_NAMES.get(one.__name__, f"a {one.__name__}") for one in plain]
    *first, last = dict.fromkeys(name for name in names if name)
    return f"{', '.join(first)} or {last}" if first else last


def _shown(value: Any) -> str:
    """Show a value in a message: short text and numbers as they are, all else by its type."""
    if value is None or (isinstance(value, str | int | float) and len(repr(value)) < 60):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, list | tuple) and value:
        return f"a {type(value).__name__} of {', '.join(sorted({type(v).__name__ for v in value}))}"
    return f"an object of type {type(value).__name__}"
