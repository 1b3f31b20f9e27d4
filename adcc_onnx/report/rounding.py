"""Numbers that were drawn, for programs."""

from __future__ import annotations

from collections.abc import Iterable


def rounded(value: float) -> float:
    """Nine digits: the last bits of sums hang on the machine, and no draw tells as much."""
    return float(f"{value:.9g}")


def rounded_all(values: Iterable[float]) -> list[float]:
    return [rounded(value) for value in values]
