"""Networks that a function of the user's own Python code returns."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adcc_onnx.errors import AdccError, OptionError, did_you_mean, first_line


def call_user_function(framework: str, name: str, weights: str) -> tuple[Any, dict[str, Any]]:
    """Call a function that returns a network.

    The function is the user's own code, which is run. It gets the argument `weights` if that is a
    path, and no argument otherwise.

    Args:
        framework: The framework, for messages.
        name: "FILE.py:FUNCTION" or "package.module:FUNCTION".
        weights: "default", "none", or the path of weights.

    Returns:
        The network and the keys of its card. The function returns both, as a pair.

    Raises:
        OptionError: There is no such function, it fails, or it returns something else.
    """
    module, colon, function = name.rpartition(":")
    if not colon or not module or not function:
        raise OptionError(
            f"{framework} has no collection of networks: give {framework}:FILE.py:FUNCTION, where "
            "FUNCTION of your FILE.py returns the network and a dict with the keys of its card"
        )
    names = vars(_imported(module))
    if not callable(names.get(function)):
        close = did_you_mean(function, [key for key, value in names.items() if callable(value)])
        raise OptionError(f"{module} has no function '{function}'{close}")
    arguments = () if weights in ("default", "none") else (Path(weights),)
    try:
        found = names[function](*arguments)
    except AdccError:
        raise
    except Exception as error:  # the user's own code
        raise OptionError(
            f"{function} of {module} failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], Mapping):
        raise OptionError(
            f"{function} of {module} must return a pair: the network, and a dict with the keys of "
            "its card (docs/reference/cards.md)"
        )
    keys = dict(found[1])
    if "size" not in keys:
        raise OptionError(f"the card that {function} of {module} returns lacks the key 'size'")
    return found[0], keys


def sides(size: Any) -> tuple[int, int]:
    """Return the (height, width) of a card's `size`, an integer or a pair."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _imported(module: str) -> Any:
    """Import a Python file or an importable module."""
    try:
        if not module.endswith(".py"):
            sys.path.insert(0, "")
            try:
                return importlib.import_module(module)
            finally:
                sys.path.remove("")
        path = Path(module)
        if not path.is_file():
            raise OptionError(f"there is no file {path}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    except AdccError:
        raise
    except Exception as error:  # the user's own code
        raise OptionError(
            f"{module} cannot be imported: {type(error).__name__}: {first_line(error)}"
        ) from error
    return loaded
