"""Stopping rules: options, their errors, and the numbers of images after which runs may stop."""

from __future__ import annotations

import itertools

import pytest

from adcc_onnx.errors import OptionError
from adcc_onnx.results.stopping_rule import (
    StoppingRule,
    looks,
    make_stopping_rule,
    recorded_rule,
)


def test_rules_and_their_records() -> None:
    assert make_stopping_rule(None, None, None, False) is None
    certain = make_stopping_rule("certain", None, None, False)
    assert certain == StoppingRule(None, 0.005, 0.05, False)
    width = make_stopping_rule("width=2e-2", None, 0.1, False)
    assert width is not None and (width.width, width.alpha) == (0.02, 0.1)
    for rule in (certain, width, make_stopping_rule("certain", 0.02, 0.01, True)):
        assert rule is not None
        assert recorded_rule({"stopping": rule.record(70)}) == (rule, 70)
    assert recorded_rule({"model": "net"}) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("sure", None, None, False), "'certain' or 'width=NUMBER'"),
        (("width=", None, None, False), "such as width=0.02"),
        (("width=0", None, None, False), "a number above 0"),
        (("width=nan", None, None, False), "a number above 0"),
        (("width=-1", None, None, False), "a number above 0"),
        (("certain", 0.0, None, False), "--margin must be above 0, not 0: no number of images"),
        (("certain", -0.1, None, False), "such as --margin 0.005"),
        (("certain", float("nan"), None, False), "--margin must be above 0"),
        (("certain", None, 0.0, False), "--alpha is an error probability"),
        (("certain", None, 5.0, False), "0.05 stands for 5 %"),
        (("width=0.1", 0.01, None, False), "--margin belongs to --until certain"),
        (("width=0.1", None, None, True), "--keep-all belongs to --until certain"),
        ((None, 0.01, None, False), "--margin needs --until certain"),
        ((None, None, 0.1, False), "--alpha needs --until certain"),
        ((None, None, None, True), "--keep-all needs --until certain"),
    ],
)
def test_errors_name_the_alternative(options: tuple, message: str) -> None:
    with pytest.raises(OptionError, match=message.replace("(", r"\(")):
        make_stopping_rule(*options)


@pytest.mark.parametrize("images", [1, 19, 20, 21, 100, 1000, 50_000])
def test_looks_grow_and_end_with_the_dataset(images: int) -> None:
    found = list(looks(images))
    assert found[-1] == images
    assert found == sorted(set(found))
    assert found[0] == min(20, images)
    for at, following in itertools.pairwise(found[:-1]):
        assert following - at == max(10, at // 200 * 10)
