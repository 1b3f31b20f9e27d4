"""Durations are written as people write them, and read back."""

from __future__ import annotations

import pytest

from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.durations import duration_text, parse_duration


def test_durations_are_written_in_two_units() -> None:
    assert [duration_text(s) for s in (0.4, 59.6, 3599, 3600, 90000)] == [
        "0 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "1 d 1 h",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("1h30m", 5400), ("2 d", 172800), ("1.5h", 5400), ("90", 90), (0.5, 0.5)],
)
def test_durations_are_read(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "30x", "-5", "0", "m30", "30m later", "inf", "nan"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(OptionError, match=r"is not a duration: write it like 30m"):
        parse_duration(text)
