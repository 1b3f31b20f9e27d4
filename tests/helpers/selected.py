"""Which parameters of a test run by default, if each of them takes seconds."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_except(default: Collection[Any], values: Iterable[Any]) -> list[Any]:
    """Mark the parameters of a test as slow, except for those that represent the others.

    Args:
        default: The parameters that run by default.
        values: All parameters, in their order; a tuple holds those of several arguments.

    Returns:
        The parameters for `pytest.mark.parametrize`.
    """
    found = []
    for one in values:
        marks = () if one in default else pytest.mark.slow
        found.append(pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=marks))
    return found
