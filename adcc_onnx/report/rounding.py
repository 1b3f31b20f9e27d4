"""Rounding of numbers that come from random draws."""

from __future__ import annotations

from collections.abc import Iterable


def rounded(value: float) -> float:
    """Round to nine digits: the last bits of a sum depend on the machine, and carry no meaning."""
    return float(f"{value:.9g}")


def rounded_all(values: Iterable[float]) -> list[float]:
    """Round every value; see `rounded`."""
    return [rounded(value) for value in values]
