"""Which parameters of a test run by default, if each of them takes seconds."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_except(default: Collection[Any], values: Iterable[Any]) -> list[Any]:
    """Mark the parameters of a test as slow, except for those that represent the others.

    Args:
        default: The parameters that run by default.
        values: All parameters, in their order.

    Returns:
        The parameters for `pytest.mark.parametrize`.
    """
    return [one if one in default else pytest.param(one, marks=pytest.mark.slow) for one in values]
