"""Requirements on scores, such as `gradcam.adcc >= 0.70`: parsing and checking."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from adcc_onnx.errors import ExpressionError, OptionError, did_you_mean
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.score_definitions import Score

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
# A name with options in round brackets, or text in quotes.
_NAME = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^\s()<>=.,"']+(?:\([^()]*\))?))""")
_DOT = re.compile(r"\s*(\.)")
_OPERATOR = re.compile(r"\s*([<>=!]+)")
_NUMBER = re.compile(r"\s*([^\s]+)")
_END = re.compile(r"\s*$")


@dataclass(frozen=True)
class Requirement:
    """A bound on the score of a method.

    Attributes:
        text: The requirement as the user wrote it.
        method: Name of the method with its options.
        score: Name of the score.
        comparison: One of ">=", ">", "<=" and "<".
        bound: The number that the score is compared with.
        score_position: Position of the score's name in the text, counted from 1.
    """

    text: str
    method: str
    score: str
    comparison: str
    bound: float
    score_position: int

    def holds(self, value: float) -> bool:
        """Return whether a value of the score meets the requirement."""
        return _OPERATORS[self.comparison](value, self.bound)


def parse_requirement(text: str) -> Requirement:
    """Parse a requirement `METHOD.SCORE OPERATOR NUMBER`.

    Args:
        text: The requirement. A name with spaces, dots or operators is written in quotes.

    Returns:
        The requirement.

    Raises:
        ExpressionError: The text has another form; the error tells the position.

    Example:
        >>> found = parse_requirement("smoothgradcam++(n=4).adcc >= 0.7")
        >>> found.method, found.score, found.comparison, found.bound
        ('smoothgradcam++(n=4)', 'adcc', '>=', 0.7)
        >>> parse_requirement("gradcam.adcc = 0.7")
        Traceback (most recent call last):
        ...
        adcc_onnx.errors.ExpressionError: requirement 'gradcam.adcc = 0.7': write >=, >, <= or < \
instead of '=' at position 14
    """
    method, at = _name(text, 0, "the name of a method")
    dot = _DOT.match(text, at)
    if dot is None:
        raise ExpressionError(text, at, "write METHOD.SCORE: there is no dot after the method")
    score, end = _name(text, dot.end(), "the name of a score")
    sign = _OPERATOR.match(text, end)
    if sign is None:
        raise ExpressionError(text, end, "expected a comparison: >=, >, <= or <")
    if sign.group(1) not in _OPERATORS:
        reason = f"write >=, >, <= or < instead of '{sign.group(1)}'"
        raise ExpressionError(text, sign.start(1), reason)
    bound, end = _number(text, sign.end())
    if _END.match(text, end) is None:
        raise ExpressionError(text, end, "unexpected text after the number")
    start = dot.end() + len(text[dot.end() :]) - len(text[dot.end() :].lstrip())
    return Requirement(text.strip(), method, score, sign.group(1), bound, start + 1)


def score_of(requirement: Requirement, result: EvaluationResult) -> Score:
    """Find the score that a requirement names, and check that its bound can be meant.

    Args:
        requirement: The requirement.
        result: The result of a run.

    Returns:
        The definition of the score.

    Raises:
        OptionError: The run has no such method or score, or the bound lies outside its range.
    """
    _require_known("method", requirement.method, list(result.methods), result)
    _require_known("score", requirement.score, list(result.score_definitions), result)
    score = result.score_definitions[requirement.score]
    low, high = score.metric.value_range
    if not low <= requirement.bound <= high:
        hint = "; scores are fractions, not percent" if score.is_fraction else ""
        raise OptionError(
            f"requirement '{requirement.text}': {score.name} lies between {low:g} and {high:g}, so "
            f"{requirement.bound:g} is no meaningful bound{hint}"
        )
    return score


def _name(text: str, at: int, what: str) -> tuple[str, int]:
    found = _NAME.match(text, at)
    if found is None or not any(found.groups()):
        raise ExpressionError(text, at, f"expected {what}")
    return next(group for group in found.groups() if group), found.end()


def _number(text: str, at: int) -> tuple[float, int]:
    found = _NUMBER.match(text, at)
    if found is None:
        raise ExpressionError(text, at, "expected a number")
    try:
        value = float(found.group(1))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ExpressionError(text, found.start(1), f"'{found.group(1)}' is not a number")
    return value, found.end()


def _require_known(what: str, name: str, known: list[str], result: EvaluationResult) -> None:
    if name not in known:
        raise OptionError(
            f"the run of {result.model} has no {what} '{name}'{did_you_mean(name, known)} "
            f"({what}s: {', '.join(known)})"
        )
