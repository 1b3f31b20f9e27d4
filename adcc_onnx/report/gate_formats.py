"""The result of a gate as lines for people and as JUnit XML."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from adcc_onnx.report.score_text import format_interval, format_score, score_title
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.quality_gate import BaselineCheck, GateResult, RequirementCheck


def requirement_line(check: RequirementCheck) -> str:
    """Write the outcome of a bound on a score as one line."""
    head = f"{check.model}: {check.requirement.text}"
    if check.value is None:
        return f"{head}: failed, because no image has this score"
    if check.interval is not None:
        low, high = check.interval
        needed = "" if check.outcome == "passed" else ", all of which must meet the requirement"
        return (
            f"{head}: {check.outcome}, the score is estimated as {check.value:.6g}, with the "
            f"interval [{low:.6g}, {high:.6g}]{needed}"
        )
    # Six digits, because the difference from the bound may be small.
    return f"{head}: {check.outcome}, the score is {check.value:.6g}"


def baseline_line(check: BaselineCheck) -> str:
    """Write the outcome of a comparison with the baseline as one line."""
    head = (
        f"{check.model}: {check.method} not worse than the baseline in {score_title(check.score)}"
    )
    found = check.difference
    lost = f"; {check.only_in_baseline} images lost their score" if check.only_in_baseline else ""
    if found is None:
        return f"{head}: skipped, because no image of the baseline has this score{lost}"
    change = format_score(check.score, found.value, "+")
    if found.interval is None:
        return f"{head}: skipped, because one image ({change}) does not allow a test{lost}"
    interval = format_interval(check.score, found.interval, "+")
    unit = " points" if check.score.is_fraction else ""
    margin = f", margin {format_score(check.score, check.margin)}" if check.margin else ""
    return (
        f"{head}: {check.outcome}, the paired difference is {change} {interval}{unit} on "
        f"{found.images} images ({100 * check.confidence:.4g} % interval{margin}){lost}"
    )


def gate_result(
    requirements: Sequence[RequirementCheck], comparisons: Sequence[BaselineCheck]
) -> GateResult:
    """Join the checks of a gate with their lines."""
    lines = [*map(requirement_line, requirements), *map(baseline_line, comparisons)]
    return GateResult(list(requirements), list(comparisons), [safe(line) for line in lines])


def gate_to_junit(result: GateResult) -> str:
    """Write the checks as JUnit XML, the format of test reports that CI servers read.

    Args:
        result: The result of the gate.

    Returns:
        An XML document with one test case per check. It holds no times, so equal runs give equal
        bytes.
    """
    checks = result.checks
    counts = {
        "tests": str(len(checks)),
        "failures": str(sum(check.outcome == "failed" for check in checks)),
        "errors": "0",
        "skipped": str(sum(check.outcome == "skipped" for check in checks)),
    }
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "adcc-onnx", **counts})
    for check, line in zip(checks, result.lines, strict=True):
        names = {"classname": safe(f"adcc-onnx.{check.model}"), "name": safe(_test_name(check))}
        case = ElementTree.SubElement(suite, "testcase", names)
        if check.outcome == "passed":
            continue
        kind = "failure" if check.outcome == "failed" else "skipped"
        ElementTree.SubElement(case, kind, {"message": line})
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _test_name(check: RequirementCheck | BaselineCheck) -> str:
    if isinstance(check, RequirementCheck):
        return check.requirement.text
    return f"{check.method}.{check.score.name} not worse than the baseline"
