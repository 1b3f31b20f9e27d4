"""Rendering that objects offer as methods although it lives in a higher layer.

A result has `_repr_html_` and `plot`, which notebooks and users call, but rendering is the task of
the package `report`, which imports the results. The report therefore registers its functions here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_RENDERERS: dict[tuple[str, str], Callable[..., Any]] = {}


def register_renderers(purpose: str, renderers: Mapping[str, Callable[..., Any]]) -> None:
    """Register the functions that render objects.

    Args:
        purpose: What they render, such as "html".
        renderers: The functions by the name of the object's class.
    """
    _RENDERERS.update({(name, purpose): render for name, render in renderers.items()})


def rendered(shown: object, purpose: str, **options: Any) -> Any:
    """Render an object.

    Args:
        shown: The object.
        purpose: What is rendered, such as "html".
        **options: Options of the registered function.

    Returns:
        What the function returns; None if there is none, so that notebooks show the `repr`.
    """
    render = _RENDERERS.get((type(shown).__name__, purpose))
    return None if render is None else render(shown, **options)
