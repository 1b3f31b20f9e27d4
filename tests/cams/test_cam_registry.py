"""Methods by name: parsing, errors for people, and registration."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from adcc_onnx.cams.gradient_cams import SmoothGradCAMPP
from adcc_onnx.cams.method import Method, Need
from adcc_onnx.cams.method_registry import (
    METHODS,
    PAPER_METHODS,
    get_method,
    list_methods,
    method,
    method_names,
)
from adcc_onnx.cams.score_cams import ScoreCAM
from adcc_onnx.errors import OptionError


@pytest.fixture(autouse=True)
def _built_in_only():
    with METHODS.isolated():
        yield


FAMILIES = {
    "activation",
    "attention",
    "control",
    "gradient",
    "optimization",
    "perturbation",
    "pixel",
    "score",
}


def test_every_name_leads_to_the_class_of_that_name():
    assert method_names()[:8] == [*PAPER_METHODS, "layercam", "hirescam"]
    assert [cls.name for cls in list_methods()] == method_names()
    for cls in list_methods():
        assert cls.summary and cls.family in FAMILIES
        assert cls.family == "control" or "https://" in (cls.__doc__ or "")


def test_built_in_modules_are_imported_on_request():
    code = (
        "import sys; from adcc_onnx.cams.method_registry import get_method; get_method('fakecam');"
        "print([m for m in sys.modules if m in ('numba', 'adcc_onnx.cams.gradient_cams')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smoothgradcam++", SmoothGradCAMPP(25, 0.15)),
        ("smoothgradcam++()", SmoothGradCAMPP(25, 0.15)),
        ("smoothgradcam++(n=4, sigma=0.3)", SmoothGradCAMPP(4, 0.3)),
        (" smoothgradcam++ ( sigma = 1e-1 ,n=4 ) ", SmoothGradCAMPP(4, 0.1)),
        ("smoothgradcam++(sigma=1)", SmoothGradCAMPP(25, 1.0)),
        ("scorecam(scores=probabilities)", ScoreCAM(scores="probabilities")),
        ("scorecam(weights='raw')", ScoreCAM(weights="raw")),
    ],
)
def test_options(text, expected):
    assert get_method(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gradcan", "there is no method 'gradcan'; did you mean 'gradcam'"),
        ("GradCAM++", "did you mean 'gradcam++'"),
        ("", "write name or name"),
        ("grad cam", "write name or name"),
        ("gradcam(", "write name or name"),
        ("smoothgradcam++((n=4))", "write name or name"),
        ("smoothgradcam++(n=4) extra", "write name or name"),
        ("smoothgradcam++(4)", "write each option as option=value, not '4'"),
        ("smoothgradcam++(n=4,)", "write each option as option=value, not ''"),
        ("smoothgradcam++(n=)", "write each option as option=value"),
        ("smoothgradcam++(n=4, n=5)", "option 'n' is given twice"),
        ("smoothgradcam++(sigmo=1)", "has no option 'sigmo'; did you mean 'sigma'?"),
        ("gradcam(n=4)", "gradcam has no option 'n' (it has none)"),
        ("smoothgradcam++(n=4.5)", "n must be a whole number, not '4.5'"),
        ("smoothgradcam++(n=true)", "n must be a whole number"),
        ("smoothgradcam++(n=" + "9" * 5000 + ")", "n must be a whole number"),
        ("smoothgradcam++(n=0)", "n must be at least 1"),
        ("smoothgradcam++(sigma=-1)", "sigma must be at least 0"),
        ("smoothgradcam++(sigma=nan)", "sigma must be a number"),
        ("smoothgradcam++(sigma=1e999)", "sigma must be a number"),
        ("scorecam(weights=soft)", "weights must be 'softmax' or 'raw', not 'soft'"),
        ("scorecam(scores=__import__('os').getpid())", "write name or name"),
    ],
)
def test_errors_name_the_problem_in_one_line(text, said):
    with pytest.raises(OptionError) as caught:
        get_method(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_registered_class_with_every_kind_of_option():
    @method
    @dataclass(frozen=True)
    class Own(Method):
        name = "own"
        family = "custom"
        summary = "a user's"
        needs = frozenset()
        count: int
        share: float = 0.5
        loud: bool = False
        mode: Literal["a", "b"] = "a"
        title: str = ""

        def raw_maps(self, context):
            return np.zeros((1, 1, 1), np.float32)

    assert get_method("own(count=-3)") == Own(-3)
    text = "own(count=1, share=2, loud=TRUE, mode=b, title='two words')"
    assert get_method(text) == Own(1, 2.0, True, "b", "two words")
    assert method_names()[-1] == "own" and list_methods()[-1] is Own
    with pytest.raises(OptionError, match=r"own needs its option 'count': write own\(count=...\)"):
        get_method("own")
    with pytest.raises(OptionError, match="loud must be true or false, not '1'"):
        get_method("own(count=1, loud=1)")


def test_a_registered_function():
    @method(name="activity", needs={Need.ACTIVATIONS}, summary="mean activation")
    def activity(context):
        """The mean over channels."""
        return context.mean(axis=1)

    found = get_method("activity")
    assert found.needs == {Need.ACTIVATIONS}
    assert (found.name, found.family, found.summary) == ("activity", "custom", "mean activation")
    values = np.random.default_rng(0).random((2, 3, 4, 4))
    np.testing.assert_array_equal(found.raw_maps(values), activity(values))
    with pytest.raises(OptionError, match="has no option 'n'"):
        get_method("activity(n=1)")


def _register_mine(result: float):
    @method(name="mine", needs=())
    def mine(context):
        return np.full((1, 1, 1), result)


def test_a_second_definition_replaces_the_first():
    _register_mine(1.0)
    _register_mine(2.0)
    assert get_method("mine").raw_maps(None)[0, 0, 0] == 2.0


@pytest.mark.parametrize("name", ["gradcam", "hirescam", "mine"])
def test_a_name_that_is_taken_is_refused(name):
    _register_mine(1.0)
    with pytest.raises(OptionError, match=f"there is a method '{name}' already"):

        @method(name=name, needs=())
        def other(context):
            return context


@pytest.mark.parametrize("name", ["", "two words", "f(x)", "a=b", "a,b"])
def test_a_name_that_cannot_be_requested_is_refused(name):
    with pytest.raises(OptionError, match="cannot name a method"):

        @method(name=name, needs=())
        def other(context):
            return context


def test_what_is_not_a_method_is_refused():
    with pytest.raises(TypeError, match="'plain' is not a subclass of Method"):

        @method
        def plain(context):
            return context

    with pytest.raises(OptionError, match="Bare must define family and summary and needs"):

        @method
        class Bare(Method):
            name = "bare"

            def raw_maps(self, context):
                return context

    with pytest.raises(TypeError, match="a method is given by name, not by int"):
        get_method(3)
