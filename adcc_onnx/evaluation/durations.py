"""Durations as people write and read them."""

from __future__ import annotations

import re

from adcc_onnx.errors import OptionError

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)\s*")


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units.

    Args:
        seconds: The duration.

    Example:
        >>> duration_text(8), duration_text(130), duration_text(7900)
        ('8 s', '2 min 10 s', '2 h 11 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def parse_duration(value: str | float) -> float:
    """Return a duration in seconds.

    Args:
        value: A number of seconds, or numbers with the units d, h, m (or min) and s.

    Returns:
        The seconds, more than 0.

    Raises:
        OptionError: The text is no duration, or it is not positive.

    Example:
        >>> parse_duration("30m"), parse_duration("1h 30min"), parse_duration(90)
        (1800.0, 5400.0, 90.0)
    """
    text = str(value).strip().lower()
    parts = _PART.findall(text)
    if parts and not _PART.sub("", text):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    else:
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise OptionError(f"'{value}' is not a duration: write it like 30m, 1h30m or 90s")
    return seconds
